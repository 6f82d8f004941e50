//! The thread keys of the process: each loaded Rust library takes one for ever, and there are 1,024.
//!
//! When none is left, the next library whose standard library asks for one ends the server.

use super::refusal::Refusal;

/// Refuses while too few keys are left for one more library and for everybody else.
pub(super) fn check_left() -> Result<(), Refusal> {
    let mut taken = Vec::with_capacity(LEFT_MIN);
    while taken.len() < LEFT_MIN {
        let mut key = 0;
        // SAFETY: `key` is a cell of ours; a key without a destructor runs nothing.
        if unsafe { libc::pthread_key_create(&raw mut key, None) } != 0 {
            break;
        }
        taken.push(key);
    }
    let left = taken.len();
    for key in taken {
        // SAFETY: the key was created above and nobody else knows it.
        unsafe { libc::pthread_key_delete(key) };
    }
    if left < LEFT_MIN {
        return Err(Refusal::NoThreadKeys { wanted: LEFT_MIN });
    }
    Ok(())
}

const LEFT_MIN: usize = 64;
