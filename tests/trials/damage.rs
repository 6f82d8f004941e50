//! Damage to a plugin's file shows in the file or ends a trial, never the server.

use std::fs;
use std::process::Command;

use object::{Object, ObjectSection};

use crate::harness::is_long;
use crate::harness::server::Server;
use crate::harness::site::{Site, library};

#[test]
fn no_damage_to_a_file_ends_the_server_or_holds_a_session_up() {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let count = if is_long() { 2_400 } else { 66 };
    let mut script = Command::new("python3");
    script
        .arg(repository.join("tests/mutants.py"))
        .args([
            "--server",
            env!("CARGO_BIN_EXE_wshd"),
            "--count",
            &count.to_string(),
        ])
        .arg("--plugin")
        .arg(library("echo_wsh"));

    let output = script
        .output()
        .expect("there is no Python: `apt-get install python3` brings it");

    let said = String::from_utf8_lossy(&output.stdout);
    if is_long() {
        eprintln!("{said}");
    }
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{error}");
    assert!(said.contains("deaths of the server: 0"), "{said}");
    assert!(
        said.contains(&format!("{count} mutants of libecho_wsh.so")),
        "{said}"
    );
}

#[test]
fn a_page_of_zeros_where_no_zeros_can_be_is_seen_in_the_file() {
    let bytes = fs::read(library("versioned_wsh")).expect("the plugin's library");
    let file = object::File::parse(&*bytes).expect("a library");
    let site = Site::empty();
    let server = Server::start(&site);

    for (index, name) in [".text", ".eh_frame", ".dynsym"].into_iter().enumerate() {
        let section = file.section_by_name(name).expect("a section");
        let (offset, length) = section.file_range().expect("bytes");
        let at = offset.next_multiple_of(4096) as usize;
        if at + 4096 > (offset + length) as usize {
            continue; // too small for a whole page
        }
        let mut torn = bytes.clone();
        torn[at..at + 4096].fill(0);
        site.add_bytes(&torn, &format!("torn{index}_wsh.so"));

        server.line(&[&format!(
            "cannot load `torn{index}_wsh.so`: a part of it is missing: from byte {at} on there are 4096 zeros where no zeros can be; copy it again"
        )]);
    }
    assert!(server.count_lines(&["a part of it is missing"]) >= 2);
}

#[test]
fn a_relocation_that_writes_outside_of_the_library_is_seen_in_the_file() {
    let mut bytes = fs::read(library("versioned_wsh")).expect("the plugin's library");
    let file = object::File::parse(&*bytes).expect("a library");
    let section = file.section_by_name(".rela.dyn").expect("relocations");
    let (offset, _) = section.file_range().expect("bytes");
    let at = offset as usize;
    bytes[at..at + 8].copy_from_slice(&0x7000_0000_u64.to_ne_bytes());
    let site = Site::empty();
    let server = Server::start(&site);

    site.add_bytes(&bytes, "writes_wsh.so");

    server.line(&["cannot load `writes_wsh.so`: it is malformed: a relocation writes to 0x70000000, which is no part of its data"]);
}
