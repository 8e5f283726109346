//! Sessions whose wire is cut again and again at random moments: nothing lost, nothing doubled, order kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(clippy::disallowed_methods, reason = "a test has real time limits")]
#![allow(clippy::print_stdout, reason = "the seed of a failure is printed")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use support::Daemon;
use support::signal_client::{Account, Carrier, Client};
use support::socket::Socket;
use support::wire::Wire;
use tokio::task::JoinSet;
use tokio::time::timeout;

const ROOM: usize = 4;
const CUTS_OF_ONE: usize = 20;
/// What takes half a minute is stuck after this.
const LIMIT: Duration = Duration::from_secs(300);

fn flags() -> Vec<&'static str> {
    vec![
        "--listen=127.0.0.1:0",
        "--http=127.0.0.1:0",
        "--relay-address=127.0.0.1",
        "--signal-auth=open",
        "--ping-interval=200ms",
        "--signal-rate=0",
        "--signal-rate-per-ip=0",
    ]
}

/// Cuts sessions of rooms of four until they have resumed `cuts` times in all; `SOAK_CUTS` multiplies that.
async fn survive(cuts: usize, carriers: &[Carrier]) {
    let times: usize = std::env::var("SOAK_CUTS").map_or(1, |text| text.parse().unwrap());
    let seed: u64 = std::env::var("CUTS_SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("CUTS_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let daemon = Daemon::start(&flags());
    let rooms = cuts.div_ceil(ROOM * CUTS_OF_ONE);
    let mut running = JoinSet::new();
    for room in 0..rooms {
        for me in 0..ROOM {
            let wire = Wire::start(daemon.addr("http"), rng.random()).await;
            let own = StdRng::seed_from_u64(rng.random());
            let name = format!("room-{room}");
            let client = Client::new(me, ROOM - 1, &name, wire, own, carriers, CUTS_OF_ONE * times);
            running.spawn(async move { (room, client.run().await) });
        }
    }
    let mut accounts: BTreeMap<usize, Vec<Account>> = BTreeMap::new();
    let all_ended = async {
        while let Some(ended) = running.join_next().await {
            let (room, account) = ended.unwrap();
            accounts.entry(room).or_default().push(account);
        }
    };
    timeout(LIMIT * u32::try_from(times).unwrap(), all_ended).await.expect("a session is lost, or stuck");
    accounts.values().for_each(|members| compare(members));
    let all = || accounts.values().flatten();
    let mut resumes: BTreeMap<&str, usize> = BTreeMap::new();
    for (carrier, count) in all().flat_map(|one| &one.resumes) {
        *resumes.entry(carrier).or_default() += count;
    }
    println!("{} cuts, resumed {resumes:?}", all().map(|one| one.cuts).sum::<usize>());
    assert!(resumes.values().sum::<usize>() >= cuts * times, "{resumes:?}");
    assert_eq!(resumes.len(), carriers.len(), "{resumes:?}");
}

/// Each heard from each other what was meant for it, once and in order.
fn compare(accounts: &[Account]) {
    for receiver in accounts {
        for sender in accounts.iter().filter(|one| one.me != receiver.me) {
            let meant = |to: &Option<String>| to.as_ref().is_none_or(|to| *to == receiver.peer);
            let all = sender.sent.iter().enumerate().filter(|(_, to)| meant(to)).map(|(number, _)| number);
            let heard = receiver.heard.get(&sender.peer).cloned().unwrap_or_default();
            assert_eq!(heard, all.collect::<Vec<_>>(), "{} from {}", receiver.me, sender.me);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cuts_of_web_sockets() {
    survive(1000, &[Carrier::Socket]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_cuts_of_events_and_posts() {
    survive(300, &[Carrier::Events]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_cuts_between_carriers() {
    survive(300, &[Carrier::Socket, Carrier::Events]).await;
}

#[test]
fn past_the_grace_the_client_is_told() {
    let mut flags = flags();
    flags.push("--resume-grace=300ms");
    let daemon = Daemon::start(&flags);
    let (mut ann, _) = Socket::hello(&daemon, json!({}));
    let (mut bo, welcome) = Socket::hello(&daemon, json!({}));
    ann.join("tea");
    bo.join("tea");
    drop(bo);
    let left = ann.hear_of("peer-left");
    assert_eq!((&left["peer"], &left["reason"]), (&welcome["peer"], &json!("timeout")));
    let hello = json!({"resume": welcome["resume"], "last_seq": 1});
    let (mut bo, again) = Socket::hello(&daemon, hello);
    assert_eq!((&again["resumed"], &again["last_id"], &again["seq"]), (&json!(false), &json!(0), &json!(0)));
    assert_ne!(again["peer"], welcome["peer"]);
    assert!(again.get("rooms").is_none());
    assert_eq!(bo.join("tea")["you"]["ord"], 3);
}
