//! What the process is to the system: its clock, threads, memory and files.

use std::sync::LazyLock;
use std::time::SystemTime;

pub(crate) mod clock;
pub(crate) mod ending_signals;
pub(crate) mod file_mode;
pub mod heap;
pub mod identity;
pub(crate) mod machine;
pub mod optional;
pub mod passed_sockets;
pub(crate) mod pid_file;
pub(crate) mod priority;
pub(crate) mod regular_file;
pub(crate) mod service_manager;
pub mod stdout;
pub(crate) mod thread_pool;
pub(crate) mod threads;
pub(crate) mod usage;

/// When this process began: before it read any file.
pub(crate) static PROCESS_BEGAN: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);
