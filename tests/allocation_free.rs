//! A relayed packet and an unauthenticated request allocate no memory.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test fails by it")]

#[path = "script/mod.rs"]
mod script;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use script::wire::{Ask, channel_data};
use script::{Client, Lab};
use turnpike::turn::{PeerAddr, Verdict};

/// Counts what the current thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the memory came from `alloc` or `realloc` above with this layout.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn asked_by(mut work: impl FnMut()) -> u64 {
    // The first round may grow buffers that are used again.
    work();
    let before = ASKED.get();
    (0..1000).for_each(|_| work());
    ASKED.get() - before
}

const BINDING: u16 = 0x001;
const ALLOCATE: u16 = 0x003;

#[test]
fn relaying_allocates_nothing_in_either_direction() {
    let mut lab = Lab::new();
    let mut ann = Client::ann("1.2.3.4:5000");
    let relayed = lab.allocate(&mut ann);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:7"), 0);
    let relay = lab.relay_at(relayed);
    let on_channel = channel_data(0x4000, &[7; 1000]);
    let indication = lab.send_indication("1.1.1.1:8", &[7; 1000]).bare();
    let [bound, unbound] = ["1.1.1.1:7", "1.1.1.1:8"].map(|peer| PeerAddr(peer.parse().unwrap()));
    let now = lab.now;
    let asked = asked_by(|| {
        for bytes in [&on_channel, &indication] {
            let verdict = lab.server.handle_client(now, ann.path, bytes);
            assert!(matches!(verdict, Verdict::ToPeer { .. }));
        }
        for peer in [bound, unbound] {
            let verdict = lab.server.handle_peer(now, relay, peer, &[7; 1000]);
            assert!(matches!(verdict, Verdict::ToClient { .. }));
        }
    });
    assert_eq!(asked, 0);
}

#[test]
fn a_hairpin_allocates_nothing() {
    let mut lab = Lab::new();
    let (mut ann, mut bob) = (Client::ann("1.2.3.4:5000"), Client::bob("1.2.3.5:5000"));
    let (from, to) = (lab.allocate(&mut ann), lab.allocate(&mut bob));
    assert_eq!(lab.bind(&ann, 0x4000, &to.to_string()), 0);
    assert_eq!(lab.bind(&bob, 0x4000, &from.to_string()), 0);
    let bytes = channel_data(0x4000, &[7; 1000]);
    let now = lab.now;
    let asked = asked_by(|| {
        let verdict = lab.server.handle_client(now, ann.path, &bytes);
        assert!(matches!(verdict, Verdict::ToClient { .. }));
    });
    assert_eq!(asked, 0);
}

#[test]
fn a_flood_of_unauthenticated_requests_allocates_nothing() {
    let mut lab = Lab::with(|setup| setup.limits.unauthenticated_rate = 0);
    let stranger = Client::ann("1.2.3.9:5000").path;
    let requests = [Ask::request(BINDING, 1).bare(), Ask::request(ALLOCATE, 2).udp().bare()];
    let now = lab.now;
    let asked = asked_by(|| {
        for bytes in &requests {
            assert!(matches!(lab.server.handle_client(now, stranger, bytes), Verdict::Queued));
            while lab.server.poll_action().is_some() {}
        }
    });
    assert_eq!(asked, 0);
}
