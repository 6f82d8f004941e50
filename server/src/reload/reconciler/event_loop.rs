//! The loop of the reconciler: takes orders, looks, and makes the outcome known. It survives a panic.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Instant;

use tracing::error;

use super::{Reconciler, SWEEP};
use crate::reload::Order;
use crate::reload::belief::Observation;

impl Reconciler {
    /// Runs until it is told to stop. A panic costs one look, and is logged.
    pub(in crate::reload) fn run(mut self, inbox: &mpsc::Receiver<Order>) {
        let mut orders = Vec::new();
        let mut last_panic = None;
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.step(&mut orders))) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return self.stop(inbox),
                Err(panic) => {
                    self.next = Instant::now() + SWEEP;
                    // Waiters get the answer as far as it is known.
                    let _ = catch_unwind(AssertUnwindSafe(|| self.tell()));
                    let why = panic_text(&*panic);
                    if last_panic.as_ref() != Some(&why) {
                        error!(error = %why, "the thread that reloads handlers panicked, and goes on");
                        last_panic = Some(why);
                    }
                }
            }
            // A panic may have left orders behind.
            if orders.is_empty() {
                let wait = self.next.saturating_duration_since(Instant::now());
                match inbox.recv_timeout(wait) {
                    Ok(order) => orders.push(order),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            // Hints come in swarms; one look serves all that have come.
            orders.extend(inbox.try_iter());
        }
    }

    /// Carries out the orders, or looks if there are none.
    fn step(&mut self, orders: &mut Vec<Order>) -> ControlFlow<()> {
        let (mut looks, mut goes_on, mut stops) = (orders.is_empty(), false, false);
        // Each order is taken out first, so that one that panics is not tried again.
        while !orders.is_empty() {
            match orders.remove(0) {
                Order::Look => {
                    self.watcher.heard();
                    looks = true;
                }
                Order::LookNow(reply) => {
                    looks = true;
                    self.has_been_told_to_look = true;
                    self.observe_each(&Observation::Hurried, |_, _| true);
                    self.waiters.join(reply);
                }
                Order::Reload(order) => {
                    looks = true;
                    self.reload(order);
                }
                Order::Reread(asked) => looks |= self.ask_to_reread(asked, Instant::now()),
                // The reading that was asked for before it comes first.
                Order::TellWhenDone(reply) => self.waiters.join_patiently(reply),
                Order::Loaded(finished) => {
                    self.finish(finished);
                    goes_on = true;
                }
                Order::Read(path, outcome) => {
                    self.reading.end(path, outcome);
                    goes_on = true;
                }
                Order::Serves {
                    handler,
                    generation,
                } => {
                    self.serves(&handler, generation);
                    goes_on = true;
                }
                Order::Moved {
                    handler,
                    generation,
                    moved,
                } => {
                    self.waiters.end_move(&handler, generation, moved);
                    self.bound_generations(&handler);
                    looks = true;
                }
                // After the orders behind it: what has been loaded until now is to be shut down too.
                Order::Stop => stops = true,
            }
        }
        if stops {
            return ControlFlow::Break(());
        }
        if looks {
            self.look();
        } else if goes_on {
            self.go_on();
        }
        self.tell();
        ControlFlow::Continue(())
    }

    /// Publishes the list of handlers, and answers waiters.
    fn tell(&mut self) {
        self.publish();
        self.answer();
    }
}

/// The text of a panic.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().map(|it| (*it).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
    words.unwrap_or_else(|| "no words".to_owned())
}
