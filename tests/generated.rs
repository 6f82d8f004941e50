//! `wshd dev` on a crate whose build script writes into its sources. That starts no build without end, and what is saved
//! during a build is built.

use std::fs;
use std::time::Duration;

use crate::harness::server::Server;
use crate::harness::site::Site;
use crate::harness::within;

/// How long a build of cargo may take on a busy machine.
const BUILT: Duration = Duration::from_secs(60);
const GENERATED: &str = "src/generated.rs changes during each build, so the build writes it";

/// Writes a crate without dependencies, whose build script notes each of its runs. It is no plugin, so each build of
/// another library ends with a refusal.
fn write_crate(site: &Site, build_script: &str) {
    site.write(
        "crates/made_wsh/Cargo.toml",
        "[package]\nname = \"made_wsh\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\n[workspace]\n",
    );
    let log = site.root().join("builds");
    site.write(
        "crates/made_wsh/build.rs",
        &format!(
            "use std::io::Write;\nuse std::time::{{Duration, SystemTime}};\nfn main() {{\n    \
             let mut log = std::fs::File::options().append(true).create(true).open({log:?}).unwrap();\n    \
             writeln!(log, \"built\").unwrap();\n    \
             let _ = (Duration::ZERO, SystemTime::now());\n    {build_script}\n}}\n"
        ),
    );
    site.write("crates/made_wsh/src/generated.rs", "");
    save(site, 0);
}

fn save(site: &Site, number: u32) {
    site.write(
        "crates/made_wsh/src/lib.rs",
        &format!(
            "#[unsafe(no_mangle)]\npub static MARK: [u8; 13] = *b\"the mark {number:04}\";\ninclude!(\"generated.rs\");\n"
        ),
    );
}

fn builds(site: &Site) -> usize {
    let log = fs::read_to_string(site.root().join("builds"));
    log.map_or(0, |log| log.lines().count())
}

fn is_built(site: &Site, number: u32) -> bool {
    let library = fs::read(site.root().join("target/debug/libmade_wsh.so"));
    let mark = format!("the mark {number:04}");
    library.is_ok_and(|library| {
        let mut windows = library.windows(mark.len());
        windows.any(|window| window == mark.as_bytes())
    })
}

fn develop(site: &Site) -> Server {
    let target = site.root().join("target");
    let server = Server::bare(site)
        .env("CARGO_TARGET_DIR", &target.to_string_lossy())
        .args(["dev", "crates", "-p", "0"])
        .start();
    within(BUILT, "it is built", || is_built(site, 0));
    server
}

#[test]
fn what_the_build_itself_writes_is_told_once_and_starts_no_further_build() {
    let site = Site::empty();
    write_crate(
        &site,
        "let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();\n    \
         std::fs::write(\"src/generated.rs\", format!(\"pub const NOW: u128 = {now};\\n\")).unwrap();",
    );
    let server = develop(&site);

    server.line_within(BUILT, &[GENERATED]);
    assert_eq!(builds(&site), 3, "it takes three to know");
    for number in 1..4 {
        save(&site, number);
        within(BUILT, "what is saved is built", || is_built(&site, number));
    }
    // The last build may still be under way, and none follows it.
    save(&site, 4);
    within(BUILT, "what is saved is built", || is_built(&site, 4));
    assert_eq!(builds(&site), 7, "{}", server.log());
    assert_eq!(server.count_lines(&[GENERATED]), 1);
}

#[test]
fn what_is_saved_during_one_build_after_the_other_is_built_in_the_end() {
    let site = Site::empty();
    write_crate(&site, "std::thread::sleep(Duration::from_millis(700));");
    let server = develop(&site);
    // The first save begins a build; each of the others is made while the one before it is built.
    for number in 1..4 {
        let before = builds(&site);
        save(&site, number);
        within(BUILT, "a build begins", || builds(&site) > before);
    }

    within(BUILT, "the last save is built", || is_built(&site, 3));
    assert_eq!(server.count_lines(&["changes during each build"]), 0);
}
