//! An open WebSocket of `wshd connect`: sends the inputs, writes what comes, and closes as `conversation` says.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval_at, sleep_until, timeout};
use tungstenite::protocol::frame::coding::Control;

use super::compression::Compressor;
use super::conversation::{Action, Event, Phase};
use super::end::End;
use super::frames::{Decoder, Received, put_control, put_message};
use super::input::Input;
use super::output::Output;
use super::socket::{Connection, Stream};
use crate::config::{CloseText, ConnectOptions};

/// One open WebSocket.
pub(super) struct Talk<'a> {
    options: &'a ConnectOptions,
    stream: Box<dyn Stream>,
    conversation: Conversation<'a>,
}

/// All of it but the connection.
struct Conversation<'a> {
    options: &'a ConnectOptions,
    phase: Phase,
    /// Since when the phase lasts, or the last message or byte went.
    since: Instant,
    decoder: Decoder,
    compressor: Option<Compressor>,
    output: Output,
    /// The bytes that are to be sent, behind those that the stream has taken.
    unsent: Vec<u8>,
    /// How many bytes of `unsent` the stream has taken. They are removed when they are half of it or more: to move the rest
    /// after every write would take a long message a time that grows with the square of its length.
    taken: usize,
    /// Whether the stream was given bytes that it may still have.
    is_unflushed: bool,
    /// Whether a message of the client may be among the bytes that wait.
    is_message_unsent: bool,
    /// How many messages have come.
    messages: u64,
    /// The Close frame that the client sends if it closes first.
    close: CloseText,
    /// The code of that frame, if it was sent.
    sent_code: Option<u16>,
    /// The last Ping, if its Pong has not come.
    ping: Option<(Vec<u8>, Instant)>,
    /// Since when nothing has come after a Ping of `--ping`.
    silent_since: Option<Instant>,
    pings: u64,
    is_interactive: bool,
    /// The server's Close frame.
    received_close: Option<CloseText>,
    end: Option<End>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        connection: Connection,
        options: &'a ConnectOptions,
        output: Output,
        is_interactive: bool,
    ) -> Talk<'a> {
        let (compressor, decompressor) = match connection.opened.compression {
            Some(agreed) => (agreed.compressor, Some(agreed.decompressor)),
            None => (None, None),
        };
        Talk {
            options,
            stream: connection.stream,
            conversation: Conversation {
                options,
                phase: Phase::Open,
                since: Instant::now(),
                decoder: Decoder::new(connection.early, decompressor),
                compressor,
                output,
                unsent: Vec::new(),
                taken: 0,
                is_unflushed: false,
                is_message_unsent: false,
                messages: 0,
                close: options.close.clone(),
                sent_code: None,
                ping: None,
                silent_since: None,
                pings: 0,
                is_interactive,
                received_close: None,
                end: None,
            },
        }
    }

    /// Sends and receives to the end.
    pub(super) async fn run(self, mut inputs: mpsc::Receiver<Input>) -> End {
        let Talk {
            options,
            stream,
            mut conversation,
        } = self;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut pings = options.ping_interval.map(|every| {
            let first = Instant::now() + every;
            interval_at(first, every)
        });
        conversation.take_received();
        while conversation.phase != Phase::Over {
            conversation
                .turn(&mut reader, &mut writer, &mut inputs, pings.as_mut())
                .await;
        }
        // A Close frame with the code of a fault may wait. A server that does not read it has its own fault to look for.
        let last = async {
            writer
                .write_all(&conversation.unsent[conversation.taken..])
                .await?;
            writer.shutdown().await
        };
        let _ = timeout(LAST_PATIENCE, last).await;
        conversation.end.unwrap_or(End::Lost)
    }
}

impl Conversation<'_> {
    /// Waits for one thing, and does what follows from it.
    async fn turn(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
        inputs: &mut mpsc::Receiver<Input>,
        pings: Option<&mut Interval>,
    ) {
        let deadline = self.deadline();
        let silence = self.silent_since.map(|since| since + self.options.timeout);
        let takes_input =
            self.phase == Phase::Open && self.unsent.len() - self.taken < UNSENT_BYTES_MAX;
        let sends = !self.unsent.is_empty() || self.is_unflushed;
        let may_ping = matches!(self.phase, Phase::Open | Phase::Listening);
        // Reading and writing wait together: a server that waits for its answers to be read takes nothing more.
        tokio::select! {
            read = reader.read_buf(self.decoder.input()) => match read {
                Ok(1..) => {
                    if let Some(since) = &mut self.silent_since {
                        *since = Instant::now();
                    }
                    self.take_received();
                }
                Ok(0) | Err(_) => self.happened(Event::Disconnected),
            },
            sent = send(writer, &self.unsent[self.taken..]), if sends => match sent {
                Ok(sent) => {
                    self.is_unflushed = sent > 0;
                    self.taken += sent;
                    if self.taken * 2 >= self.unsent.len() {
                        self.unsent.drain(..self.taken);
                        self.taken = 0;
                    }
                    self.note_progress();
                }
                // What the server has sent before can still be read.
                Err(_) => {
                    self.is_unflushed = false;
                    self.unsent.clear();
                    self.taken = 0;
                    self.note_progress();
                }
            },
            input = inputs.recv(), if takes_input => match input {
                Some(input) => self.take_input(input),
                None if self.is_interactive => self.happened(Event::CloseAsked),
                None => self.happened(Event::InputEnded),
            },
            () = until(deadline) => self.happened(Event::TimeOver),
            () = until(silence), if may_ping => self.happened(Event::Silence),
            () = tick(pings), if may_ping => {
                self.pings += 1;
                self.send_ping(self.pings.to_string().into_bytes());
                self.silent_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// When the time of the phase is over, if it has any.
    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Open | Phase::Over => None,
            // Silence counts from the moment at which all messages are sent.
            Phase::Listening if self.is_message_unsent => None,
            Phase::Listening => self.options.wait.map(|wait| self.since + wait),
            Phase::Closing => Some(self.since + self.options.timeout),
            Phase::Closed => Some(self.since + LAST_PATIENCE),
        }
    }

    /// Restarts `--wait` for each part of a message that goes. Pings and Pongs do not, or `--ping` would last for ever.
    fn note_progress(&mut self) {
        if self.is_message_unsent && self.phase == Phase::Listening {
            self.since = Instant::now();
        }
        self.is_message_unsent &= self.is_unflushed || !self.unsent.is_empty();
    }

    fn take_input(&mut self, input: Input) {
        match input {
            Input::Message(payload) => self.send_message(&payload),
            Input::Ping(payload) => self.send_ping(payload),
            Input::Close(close) => {
                self.close = close;
                self.happened(Event::CloseAsked);
            }
            Input::Tell(sentence) => super::tell(&sentence),
            Input::Failed(sentence) => {
                self.ended(End::Input(sentence));
                self.happened(Event::CloseAsked);
            }
        }
    }

    fn send_message(&mut self, payload: &[u8]) {
        let is_text = !self.options.is_binary;
        put_message(&mut self.unsent, is_text, payload, self.compressor.as_mut());
        self.is_message_unsent = true;
        self.written(|output| output.sent(is_text, payload));
    }

    fn send_ping(&mut self, payload: Vec<u8>) {
        put_control(&mut self.unsent, Control::Ping, &payload);
        self.written(|output| output.note("Send ping"));
        self.ping = Some((payload, Instant::now()));
    }

    /// Sends a Close frame, which a transcript calls `name`.
    fn send_close(&mut self, name: &str, close: &CloseText) {
        put_control(&mut self.unsent, Control::Close, &close.body());
        self.written(|output| output.note(name));
    }

    /// Takes everything that has come whole.
    fn take_received(&mut self) {
        loop {
            match self.decoder.next() {
                Ok(None) => return,
                Ok(Some(received)) => self.take(received),
                Err(fault) => {
                    self.ended(End::Fault(fault));
                    return self.happened(Event::Fault(fault.close_code()));
                }
            }
            // Nothing counts behind a Close frame (RFC 6455 §5.5.1).
            if matches!(self.phase, Phase::Closed | Phase::Over) {
                return;
            }
        }
    }

    fn take(&mut self, received: Received) {
        match received {
            Received::Text(text) => self.take_message(true, text.into_bytes()),
            Received::Binary(bytes) => self.take_message(false, bytes),
            Received::Ping(payload) => {
                self.written(|output| output.note("Recv ping"));
                put_control(&mut self.unsent, Control::Pong, &payload);
            }
            Received::Pong(payload) => {
                self.written(|output| output.note("Recv pong"));
                self.silent_since = None;
                if let Some((_, sent)) = self.ping.take_if(|(ping, _)| *ping == payload) {
                    let millis = sent.elapsed().as_secs_f64() * 1_000.0;
                    super::tell(&format!("pong after {millis:.3} ms"));
                }
            }
            Received::Close { code, reason } => {
                let name = match self.phase {
                    Phase::Closing => "Recv ack",
                    _ => "Recv close",
                };
                self.written(|output| output.note(name));
                self.received_close = Some(CloseText { code, reason });
                self.happened(Event::CloseReceived);
            }
        }
    }

    /// Writes a message, unless all that were wanted have come.
    fn take_message(&mut self, is_text: bool, payload: Vec<u8>) {
        let wanted = self.options.count.unwrap_or(u64::MAX);
        if self.messages == wanted {
            return;
        }
        self.messages += 1;
        if self.phase == Phase::Listening {
            self.since = Instant::now();
        }
        self.written(|output| output.received(is_text, payload));
        if self.messages == wanted {
            self.happened(Event::CloseAsked);
        }
    }

    /// Writes to stdout. The first error closes the WebSocket, and nothing more is written.
    fn written(&mut self, write: impl FnOnce(&mut Output) -> std::io::Result<()>) {
        if matches!(self.end, Some(End::Output(_) | End::ReaderGone)) {
            return;
        }
        if let Err(error) = write(&mut self.output) {
            self.ended(End::of_output(error));
            self.happened(Event::CloseAsked);
        }
    }

    /// Steps to the next phase, and does what it asks for.
    fn happened(&mut self, event: Event) {
        let before = self.phase;
        let (phase, action) = before.step(event);
        self.phase = phase;
        if phase != before {
            self.since = Instant::now();
        }
        match action {
            Action::Nothing => {}
            Action::SendClose => {
                let close = self.close.clone();
                self.sent_code = Some(close.code);
                self.send_close("Send close", &close);
            }
            Action::AnswerClose => {
                let code = self.received_close.as_ref().map_or(1000, |it| it.code);
                self.send_close("Send ack", &CloseText::of(code));
            }
            Action::SendFault(code) => self.send_close("Send close", &CloseText::of(code)),
            Action::Silent => self.ended(End::Silent(self.options.timeout)),
            Action::Lost => self.ended(End::Lost),
            Action::Unanswered => self.ended(End::Unanswered(self.options.timeout)),
            Action::Leave => {
                if let Some(received) = self.received_close.clone() {
                    let sent = self.sent_code;
                    self.ended(End::Closed { sent, received });
                }
            }
        }
    }

    /// Keeps the end that was known first.
    fn ended(&mut self, end: End) {
        self.end.get_or_insert(end);
    }
}

/// Writes some of the bytes and answers how many. Without any, flushes: TLS keeps what the socket has not taken.
async fn send(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> std::io::Result<usize> {
    match bytes {
        [] => writer.flush().await.map(|()| 0),
        bytes => writer.write(bytes).await,
    }
}

/// Waits for a time, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Waits for the next tick, or for ever.
async fn tick(interval: Option<&mut Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// How much may wait to be sent before stdin is read on.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// How long the server may take to end the connection after both Close frames.
const LAST_PATIENCE: Duration = Duration::from_secs(1);
