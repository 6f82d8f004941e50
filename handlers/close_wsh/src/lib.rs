#![forbid(unsafe_code)]
//! Closes as it is told: the text `3000 lunch` is answered by a Close frame with the code 3000 and the reason `lunch`.
//!
//! A code or a reason that no frame may carry (RFC 6455 §7.4) closes with 1011, as does a message of another form. A Close
//! of the client's own is answered with its code and its reason.

use wsh::prelude::*;

#[derive(Default)]
struct Closer;

impl Session for Closer {
    const ORIGIN_ANY: bool = true;

    fn on_message(&mut self, conn: &mut Conn, message: Message) -> Result {
        let order = message.as_text().and_then(|text| text.split_once(' '));
        let (code, reason) = order.ok_or("a message is `CODE REASON`")?;
        match code.parse()? {
            // `close` takes 0 for a frame without a code.
            0 => Err("0 is no close code".into()),
            code => Ok(conn.close(code, reason)?),
        }
    }

    fn on_closing(&mut self, conn: &mut Conn, close: &Close) -> Result<Closing> {
        // 1005 stands for a frame without a code, and is never sent itself.
        let code = if close.code == 1005 { 0 } else { close.code };
        conn.close(code, &close.reason)?;
        Ok(Closing::Now)
    }
}

wsh::handler!(Closer);
