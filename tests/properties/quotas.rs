//! Quotas and ports over shards that run at the same time.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::script::wire::*;
use crate::script::{Client, Lab, Setup, TestRng};

const SHARDS: u8 = 4;
const PER_USER: usize = 6;
const TOTAL: usize = 10;

/// Lets one shard allocate and release at random, and returns it.
fn busy_shard(setup: Setup, shared: turnpike::turn::SharedTable, shard: u8) -> Lab {
    let mut lab = Lab::on(setup, shared, shard);
    let rng = TestRng::new(u64::from(shard) + 99);
    let mut clients: Vec<Client> = (0..8)
        .map(|i| {
            let remote = format!("1.2.{shard}.{i}:1000");
            if i % 2 == 0 { Client::ann(&remote) } else { Client::bob(&remote) }
        })
        .collect();
    clients.iter_mut().for_each(|client| lab.login(client));
    for _ in 0..400 {
        let client = &clients[(rng.draw() % 8) as usize];
        if lab.server.has_allocation(&client.path) {
            assert!(lab.refresh(client, 0).is_success());
        } else {
            let ask = lab.request(ALLOCATE).udp();
            let ask = if rng.draw().is_multiple_of(4) { ask.with(EVEN_PORT, [0x80]) } else { ask };
            assert!([0, 486, 508].contains(&lab.ask(client, &ask).code()));
        }
    }
    lab
}

#[test]
fn quotas_hold_and_ports_are_never_shared_while_shards_run_in_parallel() {
    let mut setup = Setup { ports: (50_000, 50_013), ..Setup::default() };
    setup.quotas.allocations_per_user = PER_USER as u32;
    setup.quotas.allocations = TOTAL as u32;
    let shared = setup.shared();
    let (start, done) = (Barrier::new(usize::from(SHARDS) + 1), AtomicBool::new(false));
    let mut labs: Vec<Lab> = std::thread::scope(|scope| {
        let shards: Vec<_> = (0..SHARDS)
            .map(|shard| {
                let (setup, shared, start) = (setup.clone(), shared.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    busy_shard(setup, shared, shard)
                })
            })
            .collect();
        let (watched, done, start) = (shared.clone(), &done, &start);
        let watcher = scope.spawn(move || {
            start.wait();
            while !done.load(Ordering::Relaxed) {
                assert!(watched.allocations() as usize <= TOTAL);
                std::thread::yield_now();
            }
        });
        let labs = shards.into_iter().map(|shard| shard.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        labs
    });
    let subjects: Vec<String> =
        labs.iter().flat_map(|lab| lab.server.allocations()).map(|view| view.subject.to_owned()).collect();
    assert_eq!(subjects.len(), shared.allocations() as usize);
    for user in ["ann", "bob"] {
        assert!(subjects.iter().filter(|subject| *subject == user).count() <= PER_USER);
    }
    let held: Vec<_> = labs.iter().flat_map(|lab| lab.open.values().map(|addr| addr.local)).collect();
    let parked = labs.iter().flat_map(|lab| lab.parked.iter().copied());
    let sockets: BTreeSet<_> = held.iter().copied().chain(parked.clone()).collect();
    assert_eq!(sockets.len(), held.len() + parked.count());
    labs.iter_mut().for_each(|lab| lab.advance(crate::script::secs(700)));
    labs.iter().for_each(Lab::assert_nothing_is_left);
}
