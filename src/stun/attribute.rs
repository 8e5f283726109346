//! Attribute types and values (RFC 8489 §14, RFC 8656 §18, RFC 6062 §6.2, RFC 8016 §3.4, RFC 5780 §7).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::stun::names::{MAGIC_COOKIE, TransactionId};

/// Type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeType(pub u16);

macro_rules! attribute_types {
    ($($name:ident = $value:literal,)*) => {
        #[allow(missing_docs)]
        impl AttributeType {
            $(pub const $name: AttributeType = AttributeType($value);)*

            /// All types that have a name here.
            pub const KNOWN: &'static [AttributeType] = &[$(AttributeType::$name,)*];
        }
    };
}

attribute_types! {
    MAPPED_ADDRESS = 0x0001,
    CHANGE_REQUEST = 0x0003,
    USERNAME = 0x0006,
    MESSAGE_INTEGRITY = 0x0008,
    ERROR_CODE = 0x0009,
    UNKNOWN_ATTRIBUTES = 0x000a,
    CHANNEL_NUMBER = 0x000c,
    LIFETIME = 0x000d,
    XOR_PEER_ADDRESS = 0x0012,
    DATA = 0x0013,
    REALM = 0x0014,
    NONCE = 0x0015,
    XOR_RELAYED_ADDRESS = 0x0016,
    REQUESTED_ADDRESS_FAMILY = 0x0017,
    EVEN_PORT = 0x0018,
    REQUESTED_TRANSPORT = 0x0019,
    DONT_FRAGMENT = 0x001a,
    ACCESS_TOKEN = 0x001b,
    MESSAGE_INTEGRITY_SHA256 = 0x001c,
    PASSWORD_ALGORITHM = 0x001d,
    USERHASH = 0x001e,
    XOR_MAPPED_ADDRESS = 0x0020,
    RESERVATION_TOKEN = 0x0022,
    PADDING = 0x0026,
    RESPONSE_PORT = 0x0027,
    CONNECTION_ID = 0x002a,
    ADDITIONAL_ADDRESS_FAMILY = 0x8000,
    ADDRESS_ERROR_CODE = 0x8001,
    PASSWORD_ALGORITHMS = 0x8002,
    ALTERNATE_DOMAIN = 0x8003,
    ICMP = 0x8004,
    SOFTWARE = 0x8022,
    ALTERNATE_SERVER = 0x8023,
    FINGERPRINT = 0x8028,
    RESPONSE_ORIGIN = 0x802b,
    OTHER_ADDRESS = 0x802c,
    THIRD_PARTY_AUTHORIZATION = 0x802e,
    MOBILITY_TICKET = 0x8030,
}

impl AttributeType {
    /// Returns whether a receiver has to understand the attribute (RFC 8489 §14).
    #[must_use]
    pub const fn comprehension_required(self) -> bool {
        self.0 < 0x8000
    }
}

/// A STUN error code, 300 to 699 (RFC 8489 §14.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(u16);

#[allow(missing_docs)]
impl ErrorCode {
    pub const TRY_ALTERNATE: ErrorCode = ErrorCode(300);
    pub const BAD_REQUEST: ErrorCode = ErrorCode(400);
    pub const UNAUTHENTICATED: ErrorCode = ErrorCode(401);
    pub const FORBIDDEN: ErrorCode = ErrorCode(403);
    pub const MOBILITY_FORBIDDEN: ErrorCode = ErrorCode(405);
    pub const UNKNOWN_ATTRIBUTE: ErrorCode = ErrorCode(420);
    pub const ALLOCATION_MISMATCH: ErrorCode = ErrorCode(437);
    pub const STALE_NONCE: ErrorCode = ErrorCode(438);
    pub const FAMILY_NOT_SUPPORTED: ErrorCode = ErrorCode(440);
    pub const WRONG_CREDENTIALS: ErrorCode = ErrorCode(441);
    pub const UNSUPPORTED_TRANSPORT: ErrorCode = ErrorCode(442);
    pub const PEER_FAMILY_MISMATCH: ErrorCode = ErrorCode(443);
    pub const CONNECTION_EXISTS: ErrorCode = ErrorCode(446);
    pub const CONNECTION_FAILED: ErrorCode = ErrorCode(447);
    pub const ALLOCATION_QUOTA: ErrorCode = ErrorCode(486);
    pub const SERVER_ERROR: ErrorCode = ErrorCode(500);
    pub const INSUFFICIENT_CAPACITY: ErrorCode = ErrorCode(508);

    /// Returns the code of a number from 300 to 699.
    #[must_use]
    pub const fn new(number: u16) -> Option<ErrorCode> {
        if number >= 300 && number <= 699 { Some(ErrorCode(number)) } else { None }
    }

    /// Returns the number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// The value of an attribute is not what its type asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Attribute types as they stand in UNKNOWN-ATTRIBUTES.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeList<'a>(&'a [u8]);

impl<'a> TypeList<'a> {
    /// Reads a list of big-endian pairs.
    pub fn new(bytes: &'a [u8]) -> Result<TypeList<'a>, Malformed> {
        if bytes.len().is_multiple_of(2) { Ok(TypeList(bytes)) } else { Err(Malformed) }
    }

    /// Returns the types in order.
    pub fn iter(self) -> impl Iterator<Item = AttributeType> + use<'a> {
        self.0.chunks_exact(2).map(|pair| AttributeType(u16::from_be_bytes([pair[0], pair[1]])))
    }
}

/// A decoded attribute. Text stays bytes: what it may hold is judged where it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Attribute<'a> {
    MappedAddress(SocketAddr),
    ChangeRequest {
        ip: bool,
        port: bool,
    },
    Username(&'a [u8]),
    ErrorCode {
        code: ErrorCode,
        reason: &'a [u8],
    },
    UnknownAttributes(TypeList<'a>),
    ChannelNumber(u16),
    /// Seconds.
    Lifetime(u32),
    XorPeerAddress(SocketAddr),
    Data(&'a [u8]),
    Realm(&'a [u8]),
    Nonce(&'a [u8]),
    XorRelayedAddress(SocketAddr),
    /// The family as sent; 1 and 2 are the valid ones.
    RequestedAddressFamily(u8),
    EvenPort {
        reserve: bool,
    },
    /// An IP protocol number: 17 UDP, 6 TCP.
    RequestedTransport(u8),
    DontFragment,
    AccessToken(&'a [u8]),
    /// Algorithm number and parameters.
    PasswordAlgorithm(u16, &'a [u8]),
    Userhash([u8; 32]),
    XorMappedAddress(SocketAddr),
    ReservationToken([u8; 8]),
    Padding(&'a [u8]),
    ResponsePort(u16),
    ConnectionId(u32),
    /// The family as sent; 2 is the valid one.
    AdditionalAddressFamily(u8),
    AddressErrorCode {
        family: u8,
        code: ErrorCode,
        reason: &'a [u8],
    },
    PasswordAlgorithms(&'a [u8]),
    AlternateDomain(&'a [u8]),
    Icmp {
        kind: u8,
        code: u16,
        data: u32,
    },
    Software(&'a [u8]),
    AlternateServer(SocketAddr),
    ResponseOrigin(SocketAddr),
    OtherAddress(SocketAddr),
    ThirdPartyAuthorization(&'a [u8]),
    MobilityTicket(&'a [u8]),
    /// An attribute without a name here, or one that only the builder makes.
    Other(AttributeType, &'a [u8]),
}

impl<'a> Attribute<'a> {
    /// Decodes a value. Reserved bits are ignored; a value of the wrong size is malformed.
    pub fn decode(
        kind: AttributeType,
        value: &'a [u8],
        transaction: TransactionId,
    ) -> Result<Attribute<'a>, Malformed> {
        use AttributeType as T;
        Ok(match kind {
            T::MAPPED_ADDRESS => Attribute::MappedAddress(plain_address(value)?),
            T::CHANGE_REQUEST => {
                let bits = fixed::<4>(value)?[3];
                Attribute::ChangeRequest { ip: bits & 0x04 != 0, port: bits & 0x02 != 0 }
            }
            T::USERNAME => Attribute::Username(text(value)?),
            T::ERROR_CODE => {
                let (head, reason) = value.split_first_chunk::<4>().ok_or(Malformed)?;
                Attribute::ErrorCode { code: error_code(head[2], head[3])?, reason: text(reason)? }
            }
            T::UNKNOWN_ATTRIBUTES => Attribute::UnknownAttributes(TypeList::new(value)?),
            T::CHANNEL_NUMBER => {
                let [hi, lo, ..] = fixed::<4>(value)?;
                Attribute::ChannelNumber(u16::from_be_bytes([hi, lo]))
            }
            T::LIFETIME => Attribute::Lifetime(u32::from_be_bytes(fixed(value)?)),
            T::XOR_PEER_ADDRESS => Attribute::XorPeerAddress(xor_address(value, transaction)?),
            T::DATA => Attribute::Data(value),
            T::REALM => Attribute::Realm(text(value)?),
            T::NONCE => Attribute::Nonce(text(value)?),
            T::XOR_RELAYED_ADDRESS => Attribute::XorRelayedAddress(xor_address(value, transaction)?),
            T::REQUESTED_ADDRESS_FAMILY => Attribute::RequestedAddressFamily(fixed::<4>(value)?[0]),
            T::EVEN_PORT => Attribute::EvenPort { reserve: fixed::<1>(value)?[0] & 0x80 != 0 },
            T::REQUESTED_TRANSPORT => Attribute::RequestedTransport(fixed::<4>(value)?[0]),
            T::DONT_FRAGMENT => {
                fixed::<0>(value)?;
                Attribute::DontFragment
            }
            T::ACCESS_TOKEN => Attribute::AccessToken(value),
            T::PASSWORD_ALGORITHM => {
                let (head, rest) = value.split_first_chunk::<4>().ok_or(Malformed)?;
                let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
                let parameters = rest.get(..length).ok_or(Malformed)?;
                Attribute::PasswordAlgorithm(u16::from_be_bytes([head[0], head[1]]), parameters)
            }
            T::USERHASH => Attribute::Userhash(fixed(value)?),
            T::XOR_MAPPED_ADDRESS => Attribute::XorMappedAddress(xor_address(value, transaction)?),
            T::RESERVATION_TOKEN => Attribute::ReservationToken(fixed(value)?),
            T::PADDING => Attribute::Padding(value),
            T::RESPONSE_PORT => {
                let [hi, lo, ..] = fixed::<4>(value)?;
                Attribute::ResponsePort(u16::from_be_bytes([hi, lo]))
            }
            T::CONNECTION_ID => Attribute::ConnectionId(u32::from_be_bytes(fixed(value)?)),
            T::ADDITIONAL_ADDRESS_FAMILY => Attribute::AdditionalAddressFamily(fixed::<4>(value)?[0]),
            T::ADDRESS_ERROR_CODE => {
                let (head, reason) = value.split_first_chunk::<4>().ok_or(Malformed)?;
                let code = error_code(head[2], head[3])?;
                Attribute::AddressErrorCode { family: head[0], code, reason: text(reason)? }
            }
            T::PASSWORD_ALGORITHMS => Attribute::PasswordAlgorithms(value),
            T::ALTERNATE_DOMAIN => Attribute::AlternateDomain(value),
            T::ICMP => {
                let [_, _, t, c, data @ ..] = fixed::<8>(value)?;
                let both = u16::from_be_bytes([t, c]);
                Attribute::Icmp {
                    kind: (both >> 9) as u8,
                    code: both & 0x1ff,
                    data: u32::from_be_bytes(data),
                }
            }
            T::SOFTWARE => Attribute::Software(text(value)?),
            T::ALTERNATE_SERVER => Attribute::AlternateServer(plain_address(value)?),
            T::RESPONSE_ORIGIN => Attribute::ResponseOrigin(plain_address(value)?),
            T::OTHER_ADDRESS => Attribute::OtherAddress(plain_address(value)?),
            T::THIRD_PARTY_AUTHORIZATION => Attribute::ThirdPartyAuthorization(value),
            T::MOBILITY_TICKET => Attribute::MobilityTicket(value),
            _ => Attribute::Other(kind, value),
        })
    }

    /// Hands type and wire value to `put`.
    pub(super) fn encode(&self, transaction: TransactionId, put: impl FnOnce(AttributeType, &[u8])) {
        use AttributeType as T;
        match *self {
            Attribute::MappedAddress(addr) => put_plain(T::MAPPED_ADDRESS, addr, put),
            Attribute::ChangeRequest { ip, port } => {
                put(T::CHANGE_REQUEST, &[0, 0, 0, u8::from(ip) << 2 | u8::from(port) << 1]);
            }
            Attribute::Username(value) => put(T::USERNAME, value),
            Attribute::ErrorCode { code, reason } => put_error(T::ERROR_CODE, 0, code, reason, put),
            Attribute::UnknownAttributes(list) => put(T::UNKNOWN_ATTRIBUTES, list.0),
            Attribute::ChannelNumber(number) => put_u16(T::CHANNEL_NUMBER, number, put),
            Attribute::Lifetime(seconds) => put(T::LIFETIME, &seconds.to_be_bytes()),
            Attribute::XorPeerAddress(addr) => put_xor(T::XOR_PEER_ADDRESS, addr, transaction, put),
            Attribute::Data(value) => put(T::DATA, value),
            Attribute::Realm(value) => put(T::REALM, value),
            Attribute::Nonce(value) => put(T::NONCE, value),
            Attribute::XorRelayedAddress(addr) => put_xor(T::XOR_RELAYED_ADDRESS, addr, transaction, put),
            Attribute::RequestedAddressFamily(family) => {
                put(T::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
            }
            Attribute::EvenPort { reserve } => put(T::EVEN_PORT, &[u8::from(reserve) << 7]),
            Attribute::RequestedTransport(protocol) => put(T::REQUESTED_TRANSPORT, &[protocol, 0, 0, 0]),
            Attribute::DontFragment => put(T::DONT_FRAGMENT, &[]),
            Attribute::AccessToken(value) => put(T::ACCESS_TOKEN, value),
            Attribute::PasswordAlgorithm(number, parameters) => {
                let mut value = [0; 4 + MAX_TEXT];
                let len = parameters.len().min(MAX_TEXT);
                value[..2].copy_from_slice(&number.to_be_bytes());
                value[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                value[4..4 + len].copy_from_slice(&parameters[..len]);
                put(T::PASSWORD_ALGORITHM, &value[..4 + len.next_multiple_of(4).min(MAX_TEXT)]);
            }
            Attribute::Userhash(hash) => put(T::USERHASH, &hash),
            Attribute::XorMappedAddress(addr) => put_xor(T::XOR_MAPPED_ADDRESS, addr, transaction, put),
            Attribute::ReservationToken(token) => put(T::RESERVATION_TOKEN, &token),
            Attribute::Padding(value) => put(T::PADDING, value),
            Attribute::ResponsePort(port) => put_u16(T::RESPONSE_PORT, port, put),
            Attribute::ConnectionId(id) => put(T::CONNECTION_ID, &id.to_be_bytes()),
            Attribute::AdditionalAddressFamily(family) => {
                put(T::ADDITIONAL_ADDRESS_FAMILY, &[family, 0, 0, 0]);
            }
            Attribute::AddressErrorCode { family, code, reason } => {
                put_error(T::ADDRESS_ERROR_CODE, family, code, reason, put);
            }
            Attribute::PasswordAlgorithms(value) => put(T::PASSWORD_ALGORITHMS, value),
            Attribute::AlternateDomain(value) => put(T::ALTERNATE_DOMAIN, value),
            Attribute::Icmp { kind, code, data } => {
                let [t, c] = (u16::from(kind) << 9 | code & 0x1ff).to_be_bytes();
                let [d0, d1, d2, d3] = data.to_be_bytes();
                put(T::ICMP, &[0, 0, t, c, d0, d1, d2, d3]);
            }
            Attribute::Software(value) => put(T::SOFTWARE, value),
            Attribute::AlternateServer(addr) => put_plain(T::ALTERNATE_SERVER, addr, put),
            Attribute::ResponseOrigin(addr) => put_plain(T::RESPONSE_ORIGIN, addr, put),
            Attribute::OtherAddress(addr) => put_plain(T::OTHER_ADDRESS, addr, put),
            Attribute::ThirdPartyAuthorization(value) => put(T::THIRD_PARTY_AUTHORIZATION, value),
            Attribute::MobilityTicket(value) => put(T::MOBILITY_TICKET, value),
            Attribute::Other(kind, value) => put(kind, value),
        }
    }
}

/// Longest text in an attribute: 127 characters of up to six bytes, as older encoders write them
/// (RFC 8489 §14.3).
const MAX_TEXT: usize = 763;

fn text(value: &[u8]) -> Result<&[u8], Malformed> {
    if value.len() <= MAX_TEXT { Ok(value) } else { Err(Malformed) }
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Malformed> {
    value.try_into().map_err(|_| Malformed)
}

fn error_code(class: u8, number: u8) -> Result<ErrorCode, Malformed> {
    let class = u16::from(class & 0x07);
    if !(3..=6).contains(&class) || number > 99 {
        return Err(Malformed);
    }
    Ok(ErrorCode(class * 100 + u16::from(number)))
}

fn plain_address(value: &[u8]) -> Result<SocketAddr, Malformed> {
    decode_address(value, [0; 16], 0)
}

fn xor_address(value: &[u8], transaction: TransactionId) -> Result<SocketAddr, Malformed> {
    decode_address(value, mask(transaction), (MAGIC_COOKIE >> 16) as u16)
}

fn decode_address(value: &[u8], mask: [u8; 16], port_mask: u16) -> Result<SocketAddr, Malformed> {
    let (head, address) = value.split_first_chunk::<4>().ok_or(Malformed)?;
    let port = u16::from_be_bytes([head[2], head[3]]) ^ port_mask;
    let ip = match head[1] {
        0x01 => IpAddr::V4(Ipv4Addr::from(xored(fixed::<4>(address)?, &mask))),
        0x02 => IpAddr::V6(Ipv6Addr::from(xored(fixed::<16>(address)?, &mask))),
        _ => return Err(Malformed),
    };
    Ok(SocketAddr::new(ip, port))
}

fn xored<const N: usize>(mut octets: [u8; N], mask: &[u8; 16]) -> [u8; N] {
    octets.iter_mut().zip(mask).for_each(|(octet, mask)| *octet ^= mask);
    octets
}

fn mask(transaction: TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction.0);
    mask
}

fn put_plain(kind: AttributeType, addr: SocketAddr, put: impl FnOnce(AttributeType, &[u8])) {
    put_address(kind, addr, [0; 16], 0, put);
}

fn put_xor(
    kind: AttributeType,
    addr: SocketAddr,
    transaction: TransactionId,
    put: impl FnOnce(AttributeType, &[u8]),
) {
    put_address(kind, addr, mask(transaction), (MAGIC_COOKIE >> 16) as u16, put);
}

fn put_address(
    kind: AttributeType,
    addr: SocketAddr,
    mask: [u8; 16],
    port_mask: u16,
    put: impl FnOnce(AttributeType, &[u8]),
) {
    let mut value = [0; 20];
    value[2..4].copy_from_slice(&(addr.port() ^ port_mask).to_be_bytes());
    match addr.ip() {
        IpAddr::V4(ip) => {
            value[1] = 0x01;
            value[4..8].copy_from_slice(&xored(ip.octets(), &mask));
            put(kind, &value[..8]);
        }
        IpAddr::V6(ip) => {
            value[1] = 0x02;
            value[4..].copy_from_slice(&xored(ip.octets(), &mask));
            put(kind, &value);
        }
    }
}

fn put_error(
    kind: AttributeType,
    family: u8,
    code: ErrorCode,
    reason: &[u8],
    put: impl FnOnce(AttributeType, &[u8]),
) {
    let mut value = [0; 4 + MAX_TEXT];
    let len = reason.len().min(MAX_TEXT);
    value[0] = family;
    value[2] = (code.0 / 100) as u8;
    value[3] = (code.0 % 100) as u8;
    value[4..4 + len].copy_from_slice(&reason[..len]);
    put(kind, &value[..4 + len]);
}

fn put_u16(kind: AttributeType, number: u16, put: impl FnOnce(AttributeType, &[u8])) {
    let [hi, lo] = number.to_be_bytes();
    put(kind, &[hi, lo, 0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_on_the_wire_as_their_rfcs_draw_them() {
        let code = ErrorCode::FAMILY_NOT_SUPPORTED;
        let table: [(Attribute<'_>, u16, &[u8]); 15] = [
            (Attribute::ChangeRequest { ip: true, port: false }, 0x0003, &[0, 0, 0, 4]),
            (Attribute::ChangeRequest { ip: false, port: true }, 0x0003, &[0, 0, 0, 2]),
            (Attribute::ChannelNumber(0x4001), 0x000c, &[0x40, 1, 0, 0]),
            (Attribute::Lifetime(3600), 0x000d, &[0, 0, 0x0e, 0x10]),
            (Attribute::RequestedAddressFamily(2), 0x0017, &[2, 0, 0, 0]),
            (Attribute::EvenPort { reserve: true }, 0x0018, &[0x80]),
            (Attribute::RequestedTransport(17), 0x0019, &[17, 0, 0, 0]),
            (Attribute::DontFragment, 0x001a, &[]),
            (Attribute::PasswordAlgorithm(2, &[]), 0x001d, &[0, 2, 0, 0]),
            (Attribute::ReservationToken([1, 2, 3, 4, 5, 6, 7, 8]), 0x0022, &[1, 2, 3, 4, 5, 6, 7, 8]),
            (Attribute::ResponsePort(0x1234), 0x0027, &[0x12, 0x34, 0, 0]),
            (Attribute::ConnectionId(0x0102_0304), 0x002a, &[1, 2, 3, 4]),
            (Attribute::AdditionalAddressFamily(2), 0x8000, &[2, 0, 0, 0]),
            (Attribute::AddressErrorCode { family: 2, code, reason: b"no" }, 0x8001, b"\x02\0\x04\x28no"),
            // Seven bits of type, nine of code (RFC 8656 §18.13).
            (Attribute::Icmp { kind: 3, code: 4, data: 1400 }, 0x8004, &[0, 0, 6, 4, 0, 0, 5, 0x78]),
        ];
        let transaction = TransactionId([9; 12]);
        for (attribute, number, bytes) in table {
            let mut put = None;
            attribute.encode(transaction, |kind, value| put = Some((kind.0, value.to_vec())));
            assert_eq!(put, Some((number, bytes.to_vec())), "{attribute:?}");
            assert_eq!(Attribute::decode(AttributeType(number), bytes, transaction), Ok(attribute));
        }
    }
}
