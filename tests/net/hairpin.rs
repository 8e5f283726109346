//! Two clients of one server, on one shard and on two.

use std::net::SocketAddr;

use turnpike::turn::ShardId;

use crate::client::{Client, Link};
use crate::host::{Host, Wish};

/// Makes allocations from ever new ports until each shard has two; returns those of each shard.
async fn two_on_each(host: &Host) -> [Vec<(Client, SocketAddr)>; 2] {
    let mut clients = [Vec::new(), Vec::new()];
    while clients.iter().any(|of_shard: &Vec<_>| of_shard.len() < 2) {
        let before = host.snapshots().await;
        let made = Client::allocated(Link::udp(host.udp).await).await;
        let after = host.snapshots().await;
        let grown = |(before, after): (&turnpike::net::Snapshot, &turnpike::net::Snapshot)| {
            after.allocations > before.allocations
        };
        let shard = before.iter().zip(&after).position(grown).unwrap();
        assert_eq!(after[shard].shard, ShardId(shard as u8));
        clients[shard].push(made);
    }
    clients
}

async fn exchange(number: u16, a: &mut (Client, SocketAddr), b: &mut (Client, SocketAddr)) {
    a.0.bind(number, b.1).await;
    b.0.bind(number + 16, a.1).await;
    for n in 0..50_usize {
        let payload = vec![n as u8; n * 37];
        a.0.send_channel(number, &payload).await;
        assert_eq!(b.0.data().await, payload);
        b.0.send_channel(number + 16, &payload).await;
        assert_eq!(a.0.data().await, payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_meet_inside_a_shard_and_between_shards() {
    let host = Host::start(Wish::default());
    let [mut first, mut second] = two_on_each(&host).await;

    let (mut a, mut b) = (first.remove(0), first.remove(0));
    exchange(0x4000, &mut a, &mut b).await;
    let inside = host.snapshots().await;
    assert!(inside.iter().all(|shard| shard.net.hairpin_out == 0 && shard.net.hairpin_in == 0));

    let mut c = second.remove(0);
    exchange(0x4001, &mut a, &mut c).await;
    let between = host.snapshots().await;
    for shard in &between {
        assert_eq!((shard.net.hairpin_out, shard.net.hairpin_in), (50, 50));
        assert_eq!(shard.net.dropped(turnpike::net::NetDrop::HairpinFull), 0);
    }
    host.running.stop().await;
}
