//! The units of systemd, as systemd itself reads them.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::site::Site;

/// The exposure that `systemd-analyze security` may find, in tenths: 0 is none, 100 is all.
const EXPOSURE_MAX: &str = "12";

/// Writes a unit of `config/`, with this program in the place of the one that is installed. Returns its path.
fn unit(site: &Site, name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let text = fs::read_to_string(folder.join(name)).expect("the unit is there");
    let text = text.replace("/usr/local/bin/wshd", env!("CARGO_BIN_EXE_wshd"));
    site.write(name, &text);
    let path = site.root().join(name);
    path.to_str().expect("text").to_owned()
}

/// Runs `systemd-analyze`. Returns whether it found nothing wrong, and what it says.
#[track_caller]
fn analyze(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("systemd-analyze").args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!("systemd-analyze does not run ({error}): install Debian's package `systemd`")
    });
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[test]
fn systemd_finds_no_fault_in_any_unit() {
    let site = Site::empty();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
    let files = fs::read_dir(folder).expect("the folder is there").flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let is_unit = |name: &String| name.ends_with(".service") || name.ends_with(".socket");
    let units: Vec<String> = names
        .filter(is_unit)
        .map(|name| unit(&site, &name))
        .collect();
    assert!(!units.is_empty());

    // One unit may belong to another one, so all of them are there before one is read.
    for path in &units {
        let (is_right, said) = analyze(&["verify", "--man=no", path]);
        assert!(is_right && said.is_empty(), "{path}: {said}");
    }
}

#[test]
fn a_fault_in_a_unit_is_found() {
    let site = Site::empty();
    let path = unit(&site, "wshd.service");
    let text = fs::read_to_string(&path).expect("it was written");
    site.write(
        "wshd.service",
        &text.replace("KillMode=mixed", "KillMode=mix"),
    );

    let (_, said) = analyze(&["verify", "--man=no", &path]);

    assert!(said.contains("kill mode"), "{said}");
}

#[test]
fn what_the_unit_leaves_open_is_little() {
    let site = Site::empty();
    let path = unit(&site, "wshd.service");
    let threshold = format!("--threshold={EXPOSURE_MAX}");

    let (is_little, said) = analyze(&[
        "security",
        "--offline=true",
        "--no-pager",
        &threshold,
        &path,
    ]);

    assert!(is_little, "{said}");
    assert!(said.contains("Overall exposure level"), "{said}");
}
