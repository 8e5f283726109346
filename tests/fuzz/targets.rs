//! Fuzz targets: plain functions of bytes that panic when something is wrong.

use turnpike::stun::{
    Attribute, Builder, ChannelData, Class, Frame, Message, Method, TransactionId, next_frame,
};

use crate::script::wire::{Ask, BINDING, channel_data};
use crate::script::{Client, Lab};
use crate::world::World;

type Target = fn(&[u8]);

/// Every target with the name of its corpus.
pub const TARGETS: &[(&str, Target)] =
    &[("framing", framing), ("history", history), ("server", server), ("stun", stun)];

/// Parses a message and builds it again from what was read: it has to read the same.
pub fn stun(bytes: &[u8]) {
    let _ = ChannelData::parse(bytes);
    let Ok(message) = Message::parse(bytes) else { return };
    let mut buffer = vec![0; bytes.len() + 64];
    let mut builder = Builder::new(&mut buffer, message.class(), message.method(), message.transaction());
    for raw in message.attributes() {
        builder.raw(raw.kind, raw.value);
        if let Ok(attribute) = Attribute::decode(raw.kind, raw.value, message.transaction()) {
            again(&attribute, message.transaction());
        }
    }
    builder.integrity(b"key").fingerprint();
    let size = builder.finish().expect("no longer than what was read and its seals");
    let built = Message::parse(&buffer[..size]).expect("what is built is read");
    assert!(built.verifies(b"key") && built.fingerprint_holds());
    assert!(built.attributes().eq(message.attributes()));
    let _ = (message.verifies(b"key"), message.fingerprint_holds());
}

/// What an attribute decodes to survives its encoding.
fn again(attribute: &Attribute<'_>, id: TransactionId) {
    let mut buffer = [0; 0x1_0100];
    let mut builder = Builder::new(&mut buffer, Class::Request, Method::BINDING, id);
    builder.attribute(attribute);
    let size = builder.finish().expect("an attribute of a message fits");
    let message = Message::parse(&buffer[..size]).expect("what is built is read");
    // An integrity or fingerprint out of place reads as such and not as an attribute.
    if let Some(raw) = message.attributes().next() {
        assert_eq!(Attribute::decode(raw.kind, raw.value, id).as_ref(), Ok(attribute));
    }
}

/// Cuts a stream in two ways, whole and in pieces of the size that the first byte says: the same frames.
pub fn framing(bytes: &[u8]) {
    let Some((first, stream)) = bytes.split_first() else { return };
    let whole = frames(stream.chunks(stream.len().max(1)));
    let pieces = frames(stream.chunks(usize::from(*first) + 1));
    assert_eq!(whole, pieces);
}

/// Returns the frames of a stream, and whether it was out of step at its end.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let (mut buffer, mut found) = (Vec::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match next_frame(&buffer) {
                Frame::Whole { len, total } => {
                    assert!(len <= total && total <= buffer.len());
                    found.push(buffer[..len].to_vec());
                    buffer.drain(..total);
                }
                Frame::Partial { total } => {
                    assert!(total > buffer.len());
                    break;
                }
                Frame::OutOfStep => return (found, true),
            }
        }
    }
    (found, false)
}

/// Feeds datagrams, each behind a byte of its length and one that says who sends it.
pub fn server(mut bytes: &[u8]) {
    let mut lab = Lab::with(|setup| setup.limits.unauthenticated_rate = 0);
    let mut ann = Client::ann("1.2.3.4:5000");
    let relayed = lab.allocate(&mut ann);
    assert_eq!(lab.bind(&ann, 0x4000, "1.1.1.1:9"), 0);
    let stranger = Client::ann("1.2.3.4:5001");
    while let [len, who, rest @ ..] = bytes {
        let (datagram, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        match who % 4 {
            0 => drop(lab.feed(&ann.path, datagram)),
            1 => drop(lab.feed(&stranger.path, datagram)),
            2 => drop(lab.peer_sends(relayed, "1.1.1.1:9", datagram)),
            _ => drop(lab.peer_sends(relayed, "1.1.1.2:9", datagram)),
        }
        bytes = rest;
    }
    assert_eq!(lab.server.allocations().count(), 1);
    assert!(lab.answer(&stranger.path, &Ask::request(BINDING, 1).bare()).is_success());
    assert_eq!(lab.feed(&ann.path, &channel_data(0x4000, b"x")).0.to_peer().1, b"x");
}

/// Plays a history of two shards beside the model.
pub fn history(bytes: &[u8]) {
    let mut world = World::new();
    world.play(&bytes[..bytes.len().min(4 * 200)]);
    world.assert_all_returns();
}
