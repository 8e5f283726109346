//! Histories of two shards against the model of `script/world.rs`.

use proptest::prelude::*;

use crate::cases::cases;
use crate::world::World;

const REGRESSIONS: &str = "tests/regressions/histories.txt";

fn history() -> impl Strategy<Value = Vec<[u8; 4]>> {
    prop::collection::vec(any::<[u8; 4]>(), 1..120)
}

/// A history that begins with allocations, so that more of it is about what they let through.
fn busy_history() -> impl Strategy<Value = Vec<[u8; 4]>> {
    history().prop_map(|steps| {
        let start =
            (0..6).map(|who| [0, who, 0, 100]).chain((0..6).map(|who| [6, who, 10 + (who + 1) % 6, 0]));
        let permits = (0..6).map(|who| [6, who, 0, 2]);
        start.chain(permits).chain(steps).collect()
    })
}

/// Two clients, two peers and two channels under long waits, so that numbers and peers change hands.
fn focused_history() -> impl Strategy<Value = Vec<[u8; 4]>> {
    prop::collection::vec(any::<[u8; 4]>(), 20..160).prop_map(|steps| {
        let focus = |[op, who, a, b]: [u8; 4]| match op % 10 {
            0..=2 => [9, who % 2, a % 2, b % 2],
            3 => [6, who % 2, a % 2, 0],
            4 => [5, who % 2, 5, 0],
            // 240, 299, 300, 301, 599 or 600 seconds, noticed at once or later.
            5 | 6 => [20, 0, 4 + a % 6, b],
            7 => [14, who % 2, a % 2, b],
            _ => [16, who % 2, a % 2, b],
        };
        let start = [[0, 0, 0, 255], [0, 1, 0, 255], [5, 0, 5, 0], [5, 1, 5, 0]];
        start.into_iter().chain(steps.into_iter().map(focus)).collect()
    })
}

fn play(steps: &[[u8; 4]]) -> World {
    let mut world = World::new();
    world.play(steps.as_flattened());
    world
}

/// Reservations are no part of an allocation's state, so that a history which is cut makes none.
fn without_reservations(steps: Vec<[u8; 4]>) -> Vec<[u8; 4]> {
    let plain = |[op, who, a, b]: [u8; 4]| {
        let kind = if op % 24 < 4 && [4, 5].contains(&(a % 8)) { 3 } else { a };
        [op, who, kind, b]
    };
    steps.into_iter().map(plain).collect()
}

proptest! {
    #![proptest_config(cases(200, REGRESSIONS))]

    /// Nothing passes without a permission or channel, unproven sources hold nothing, quotas hold, all returns.
    #[test]
    fn servers_do_what_the_model_says_and_everything_returns(steps in history()) {
        play(&steps).assert_all_returns();
    }

    #[test]
    fn busy_servers_do_what_the_model_says_and_everything_returns(steps in busy_history()) {
        play(&steps).assert_all_returns();
    }

    #[test]
    fn channels_and_permissions_change_hands_as_the_model_says(steps in focused_history()) {
        play(&steps).assert_all_returns();
    }

    #[test]
    fn same_seed_and_inputs_give_the_same_outputs(steps in busy_history()) {
        prop_assert_eq!(play(&steps).trace, play(&steps).trace);
    }

    #[test]
    fn exported_and_imported_at_any_point_the_history_goes_on(steps in busy_history(), cut in any::<prop::sample::Index>()) {
        let steps = without_reservations(steps);
        let mut moved = World::new();
        let (before, after) = steps.split_at(cut.index(steps.len()));
        moved.play(before.as_flattened());
        moved.move_to_fresh_servers();
        moved.play(after.as_flattened());
        prop_assert_eq!(&moved.trace, &play(&steps).trace);
        moved.assert_all_returns();
    }
}
