//! What the host says about its addresses.

use crate::net::interfaces::{self, HostAddresses};
use crate::node::error::RunError;

pub(super) fn host_addresses() -> Result<HostAddresses, RunError> {
    interfaces::host_addresses().map_err(RunError::system("the addresses of this host cannot be read"))
}
