//! A small STUN client codec of the tests' own, so that the server's codec is not proven by itself.

use std::net::{IpAddr, SocketAddr};

use hmac::{Hmac, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

pub const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

pub const BINDING: u16 = 0x001;
pub const ALLOCATE: u16 = 0x003;
pub const REFRESH: u16 = 0x004;
pub const SEND: u16 = 0x006;
pub const DATA_METHOD: u16 = 0x007;
pub const CREATE_PERMISSION: u16 = 0x008;
pub const CHANNEL_BIND: u16 = 0x009;

pub const REQUEST: u16 = 0x000;
pub const INDICATION: u16 = 0x010;
pub const SUCCESS: u16 = 0x100;
pub const ERROR: u16 = 0x110;

pub const MAPPED: u16 = 0x0001;
pub const USERNAME: u16 = 0x0006;
pub const MI: u16 = 0x0008;
pub const ERROR_CODE: u16 = 0x0009;
pub const UNKNOWN: u16 = 0x000a;
pub const CHANNEL: u16 = 0x000c;
pub const LIFETIME: u16 = 0x000d;
pub const PEER: u16 = 0x0012;
pub const DATA: u16 = 0x0013;
pub const REALM: u16 = 0x0014;
pub const NONCE: u16 = 0x0015;
pub const RELAYED: u16 = 0x0016;
pub const FAMILY: u16 = 0x0017;
pub const EVEN_PORT: u16 = 0x0018;
pub const TRANSPORT: u16 = 0x0019;
pub const DONT_FRAGMENT: u16 = 0x001a;
pub const MI256: u16 = 0x001c;
pub const USERHASH: u16 = 0x001e;
pub const XOR_MAPPED: u16 = 0x0020;
pub const TOKEN: u16 = 0x0022;
pub const SECOND_FAMILY: u16 = 0x8000;
pub const ADDRESS_ERROR: u16 = 0x8001;
pub const SOFTWARE: u16 = 0x8022;
pub const FINGERPRINT: u16 = 0x8028;

/// Who signs a request, and with what.
#[derive(Clone, Debug)]
pub struct Credential {
    pub username: Vec<u8>,
    pub realm: Vec<u8>,
    pub nonce: Vec<u8>,
    pub key: [u8; 16],
}

/// A message under construction.
#[derive(Clone, Debug)]
pub struct Ask {
    pub kind: u16,
    pub tid: [u8; 12],
    pub attributes: Vec<(u16, Vec<u8>)>,
    pub fingerprint: bool,
}

impl Ask {
    pub fn request(method: u16, tid: u64) -> Ask {
        Ask::of(REQUEST, method, tid)
    }

    pub fn indication(method: u16, tid: u64) -> Ask {
        Ask::of(INDICATION, method, tid)
    }

    pub fn of(class: u16, method: u16, tid: u64) -> Ask {
        let mut id = *b"tid.........";
        id[4..].copy_from_slice(&tid.to_be_bytes());
        Ask { kind: message_type(class, method), tid: id, attributes: Vec::new(), fingerprint: false }
    }

    pub fn with(mut self, kind: u16, value: impl AsRef<[u8]>) -> Ask {
        self.attributes.push((kind, value.as_ref().to_vec()));
        self
    }

    pub fn without(mut self, kind: u16) -> Ask {
        self.attributes.retain(|(held, _)| *held != kind);
        self
    }

    pub fn peer(self, addr: &str) -> Ask {
        let value = xor_address(addr.parse().unwrap(), &self.tid);
        self.with(PEER, value)
    }

    pub fn peer_ip(self, ip: &str) -> Ask {
        let value = xor_address(SocketAddr::new(ip.parse().unwrap(), 0), &self.tid);
        self.with(PEER, value)
    }

    pub fn lifetime(self, seconds: u32) -> Ask {
        self.with(LIFETIME, seconds.to_be_bytes())
    }

    pub fn channel(self, number: u16) -> Ask {
        let [hi, lo] = number.to_be_bytes();
        self.with(CHANNEL, [hi, lo, 0, 0])
    }

    pub fn udp(self) -> Ask {
        self.with(TRANSPORT, [17, 0, 0, 0])
    }

    pub fn family(self, family: u8) -> Ask {
        self.with(FAMILY, [family, 0, 0, 0])
    }

    /// Ends the message with FINGERPRINT.
    pub fn fingerprinted(mut self) -> Ask {
        self.fingerprint = true;
        self
    }

    /// Returns the bytes without integrity.
    pub fn bare(&self) -> Vec<u8> {
        self.finish(self.body())
    }

    /// Returns the bytes with USERNAME, REALM, NONCE and MESSAGE-INTEGRITY behind the rest.
    pub fn signed(&self, by: &Credential) -> Vec<u8> {
        self.signed_then(by, &[])
    }

    /// As [`Ask::signed`], with attributes behind the integrity.
    pub fn signed_then(&self, by: &Credential, tail: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = self.credited(by);
        seal(&mut bytes, MI, 20, |covered| sha1(&by.key, covered));
        tail.iter().for_each(|(kind, value)| append(&mut bytes, *kind, value));
        self.finish(bytes)
    }

    /// As [`Ask::signed`], with MESSAGE-INTEGRITY-SHA256.
    pub fn signed_sha256(&self, by: &Credential) -> Vec<u8> {
        let mut bytes = self.credited(by);
        seal(&mut bytes, MI256, 32, |covered| sha256(&by.key, covered));
        self.finish(bytes)
    }

    /// As [`Ask::signed`], with both kinds of integrity.
    pub fn signed_twice(&self, by: &Credential) -> Vec<u8> {
        let mut bytes = self.credited(by);
        seal(&mut bytes, MI, 20, |covered| sha1(&by.key, covered));
        seal(&mut bytes, MI256, 32, |covered| sha256(&by.key, covered));
        self.finish(bytes)
    }

    fn credited(&self, by: &Credential) -> Vec<u8> {
        let credit = [(USERNAME, &by.username), (REALM, &by.realm), (NONCE, &by.nonce)];
        let named = credit.map(|(kind, value)| (kind, value.clone()));
        let mut whole = self.clone();
        whole.attributes.extend(named);
        whole.body()
    }

    fn body(&self) -> Vec<u8> {
        let mut bytes = self.kind.to_be_bytes().to_vec();
        bytes.extend([0, 0]);
        bytes.extend(COOKIE);
        bytes.extend(self.tid);
        self.attributes.iter().for_each(|(kind, value)| append(&mut bytes, *kind, value));
        bytes
    }

    fn finish(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.fingerprint {
            seal(&mut bytes, FINGERPRINT, 4, |covered| {
                (crc32fast::hash(covered) ^ 0x5354_554e).to_be_bytes().to_vec()
            });
        }
        set_length(&mut bytes, 0);
        bytes
    }
}

/// A message as a client reads it. Reading panics on anything that a server must not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    pub kind: u16,
    pub tid: [u8; 12],
    pub attributes: Vec<(u16, Vec<u8>)>,
    pub bytes: Vec<u8>,
}

impl Heard {
    /// Reads a message and checks header, length, padding and fingerprint.
    pub fn read(bytes: &[u8]) -> Heard {
        assert!(bytes.len() >= 20 && bytes[0] & 0xc0 == 0, "{bytes:02x?}");
        let length = usize::from(be16(bytes, 2));
        assert!(length.is_multiple_of(4) && length + 20 == bytes.len(), "length field: {bytes:02x?}");
        assert_eq!(bytes[4..8], COOKIE);
        let mut attributes = Vec::new();
        let mut at = 20;
        while at < bytes.len() {
            let kind = be16(bytes, at);
            let end = at + 4 + usize::from(be16(bytes, at + 2));
            let padded = end.next_multiple_of(4);
            assert!(bytes[end..padded].iter().all(|byte| *byte == 0), "padding: {bytes:02x?}");
            attributes.push((kind, bytes[at + 4..end].to_vec()));
            if kind == FINGERPRINT {
                let crc = crc32fast::hash(&bytes[..at]) ^ 0x5354_554e;
                assert_eq!(bytes[at + 4..], crc.to_be_bytes(), "fingerprint is right and last");
            }
            at = padded;
        }
        let mut tid = [0; 12];
        tid.copy_from_slice(&bytes[8..20]);
        Heard { kind: be16(bytes, 0), tid, attributes, bytes: bytes.to_vec() }
    }

    pub fn class(&self) -> u16 {
        self.kind & 0x110
    }

    pub fn method(&self) -> u16 {
        (self.kind & 0x00f) | (self.kind & 0x0e0) >> 1 | (self.kind & 0x3e00) >> 2
    }

    pub fn is_success(&self) -> bool {
        self.class() == SUCCESS
    }

    pub fn has(&self, kind: u16) -> bool {
        self.attributes.iter().any(|(held, _)| *held == kind)
    }

    pub fn kinds(&self) -> Vec<u16> {
        self.attributes.iter().map(|(kind, _)| *kind).collect()
    }

    pub fn value(&self, kind: u16) -> &[u8] {
        let found = self.attributes.iter().find(|(held, _)| *held == kind);
        &found.unwrap_or_else(|| panic!("no {kind:#06x} in {self:02x?}")).1
    }

    /// Returns the error code, or 0 in a success.
    pub fn code(&self) -> u16 {
        if self.is_success() {
            return 0;
        }
        let value = self.value(ERROR_CODE);
        assert!(value[0] == 0 && value[1] == 0 && (3..=6).contains(&value[2]) && value[3] < 100);
        assert!(std::str::from_utf8(&value[4..]).unwrap().chars().count() < 128);
        u16::from(value[2]) * 100 + u16::from(value[3])
    }

    pub fn address(&self, kind: u16) -> SocketAddr {
        read_xor_address(self.value(kind), &self.tid)
    }

    pub fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.value(LIFETIME).try_into().unwrap())
    }

    pub fn unknown(&self) -> Vec<u16> {
        self.value(UNKNOWN).chunks(2).map(|pair| be16(pair, 0)).collect()
    }

    /// Returns whether MESSAGE-INTEGRITY is there, right, and last but for FINGERPRINT.
    pub fn proves(&self, key: &[u8]) -> bool {
        let mut at = 20;
        for (place, (kind, value)) in self.attributes.iter().enumerate() {
            if *kind == MI {
                let mut covered = self.bytes[..at].to_vec();
                set_length(&mut covered, 24);
                let behind = &self.kinds()[place + 1..];
                return sha1(key, &covered) == *value && (behind.is_empty() || behind == [FINGERPRINT]);
            }
            at += 4 + value.len().next_multiple_of(4);
        }
        false
    }
}

pub fn long_term_key(username: &str, realm: &str, password: &str) -> [u8; 16] {
    Md5::digest(format!("{username}:{realm}:{password}")).into()
}

pub fn message_type(class: u16, method: u16) -> u16 {
    class | method & 0x00f | (method & 0x070) << 1 | (method & 0xf80) << 2
}

/// Builds a ChannelData message, unpadded.
pub fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn append(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend(kind.to_be_bytes());
    bytes.extend((value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Writes the header's length as if `more` bytes followed.
pub fn set_length(bytes: &mut [u8], more: usize) {
    let length = (bytes.len() - 20 + more) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

pub fn sha1(key: &[u8], covered: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(covered);
    mac.finalize().into_bytes().to_vec()
}

pub fn sha256(key: &[u8], covered: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(covered);
    mac.finalize().into_bytes().to_vec()
}

/// Appends an attribute computed over all before it, with the header's length ending behind it.
pub fn seal(bytes: &mut Vec<u8>, kind: u16, len: usize, tag: impl FnOnce(&[u8]) -> Vec<u8>) {
    set_length(bytes, 4 + len);
    let tag = tag(bytes);
    append(bytes, kind, &tag);
}

pub fn xor_address(addr: SocketAddr, tid: &[u8; 12]) -> Vec<u8> {
    let mut value = vec![0, if addr.is_ipv4() { 1 } else { 2 }];
    value.extend((addr.port() ^ 0x2112).to_be_bytes());
    match addr.ip() {
        IpAddr::V4(ip) => value.extend(ip.octets()),
        IpAddr::V6(ip) => value.extend(ip.octets()),
    }
    value[4..].iter_mut().zip(COOKIE.iter().chain(tid)).for_each(|(octet, mask)| *octet ^= mask);
    value
}

pub fn read_xor_address(value: &[u8], tid: &[u8; 12]) -> SocketAddr {
    assert_eq!(value[0], 0, "first byte of an address is zero");
    let port = be16(value, 2) ^ 0x2112;
    let octets: Vec<u8> = value[4..].iter().zip(COOKIE.iter().chain(tid)).map(|(o, m)| o ^ m).collect();
    let ip = match value[1] {
        1 => IpAddr::from(<[u8; 4]>::try_from(octets).unwrap()),
        2 => IpAddr::from(<[u8; 16]>::try_from(octets).unwrap()),
        other => panic!("family {other}"),
    };
    SocketAddr::new(ip, port)
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
