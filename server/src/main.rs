//! The `wshd` command, as far as the loader needs it: `wshd -p PORT -w DIR`.

use std::path::PathBuf;

use wshd::config::{Config, LogLevel};
use wshd::serve::Serving;

fn main() {
    let mut config = Config::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        match &*flag {
            "--allow-handlers-outside-root-dir" => config.allow_handlers_outside_root_dir = true,
            "-p" => config
                .listen
                .iter_mut()
                .for_each(|a| a.set_port(value.parse().unwrap_or(0))),
            "-w" => {
                config.handlers_dir = std::path::absolute(PathBuf::from(value)).unwrap_or_default()
            }
            "-d" => config.document_root = std::path::absolute(PathBuf::from(value)).ok(),
            "--log-level" => config.log_level = LogLevel::Debug,
            other => eprintln!("unknown flag {other}"),
        }
    }
    config.scan_dir = config.handlers_dir.clone();
    wshd::logging::init(config.log_level);
    let again = config.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let code = runtime.block_on(async {
        match Serving::start(config, Box::new(move || Ok(again.clone()))) {
            Ok(serving) => {
                let signals = wshd::signals::Signals::new().expect("signals");
                let control = serving.control();
                serving.run(signals.stop(control)).await;
                0
            }
            Err(error) => {
                eprintln!("wshd: {error}");
                1
            }
        }
    });
    wshd::leave(code);
}
