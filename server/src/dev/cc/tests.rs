//! Real compilers, and sources that would hold them up.

use super::*;
use crate::dev::sources::SOURCE_BYTES_MAX;

fn usual() -> [OsString; 2] {
    ["cc", "c++"].map(OsString::from)
}

#[test]
fn each_compiler_of_cpp_is_called_with_what_it_knows() {
    for (program, knows_unique) in [("g++", true), ("clang++", false)] {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("x.cpp");
        let text = "#include <string_view>\n#include <wsh_test.h>\nstd::string_view x;\n\
                    template <class T> struct Of { static int it; };\n\
                    template <class T> int Of<T>::it = 1;\nint &it() { return Of<int>::it; }\n";
        fs::write(&source, text).unwrap();
        let directory = place.path().join("cc");
        let programs = ["no-such-cc".into(), program.into()];
        let cc = Cc::of(programs, Profile::Dev, directory, Arc::default()).unwrap();

        let built = cc.build("x_wsh", &[source]).unwrap();

        assert_eq!(cc.knows_unique(), knows_unique, "{program}");
        // A library with a unique symbol has the OS ABI of GNU, which is 3.
        let library = fs::read(built.library).unwrap();
        assert_eq!(library[7], 0, "{program}");
    }
}

#[test]
fn a_compiler_that_does_not_end_is_ended_and_its_source_is_named() {
    let place = tempfile::tempdir().unwrap();
    let fifo = place.path().join("fifo.h");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo, of coreutils, runs").success());
    let source = place.path().join("x.c");
    // Only the compiler knows the name of the header.
    let text = "#define NAME \"fifo.h\"\n#include NAME\n";
    fs::write(&source, text).unwrap();
    let directory = place.path().join("cc");
    let mut cc = Cc::of(usual(), Profile::Dev, directory, Arc::default()).unwrap();
    cc.timeout = Duration::from_secs(1);

    let told = cc
        .build("x_wsh", std::slice::from_ref(&source))
        .unwrap_err();

    let late = "not built: `cc` was not done with `x.c` after 1 s, and was ended";
    assert!(told.starts_with(late), "{told}");
    // The next build is not ended.
    fs::write(&source, "int x;\n").unwrap();
    assert!(cc.build("x_wsh", &[source]).is_ok());
}

#[test]
fn a_compiler_that_is_not_there_is_named_with_the_way_out() {
    let place = tempfile::tempdir().unwrap();
    let place = place.path().join("cc");
    let programs = ["no-such-cc", "no-such-c++"].map(OsString::from);
    let cc = Cc::of(programs, Profile::Dev, place, Arc::default()).unwrap();

    for (source, expected) in [
        (
            "/x.c",
            "cannot find `no-such-cc`, which builds handlers in C: install a C compiler, or name \
             one with `CC`",
        ),
        (
            "/x.cc",
            "cannot find `no-such-c++`, which builds handlers in C++: install a C++ compiler, or \
             name one with `CXX`",
        ),
    ] {
        let why = cc.build("x_wsh", &[source.into()]).unwrap_err();
        assert_eq!(why, expected);
    }
}

#[test]
fn a_source_finds_every_header_of_the_border() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("raw.c");
    let text = "#include <wsh_raw.h>\n#include <wsh_test.h>\nint x = WSH_RAW_OPEN;\n";
    fs::write(&source, text).unwrap();
    let directory = place.path().join("cc");
    let cc = Cc::of(usual(), Profile::Dev, directory, Arc::default()).unwrap();

    cc.build("x_wsh", &[source]).unwrap();
}

#[test]
fn a_source_that_would_hold_up_the_compiler_is_named_and_not_compiled() {
    let place = tempfile::tempdir().unwrap();
    let [fifo, device, huge] = ["fifo.c", "device.c", "huge.c"].map(|name| place.path().join(name));
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo, of coreutils, runs").success());
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    let file = fs::File::create(&huge).unwrap();
    file.set_len(SOURCE_BYTES_MAX + 1).unwrap();
    let directory = place.path().join("cc");
    let cc = Cc::of(usual(), Profile::Dev, directory, Arc::default()).unwrap();

    for (source, why) in [
        (fifo, "`fifo.c`: it is a FIFO, wanted is a regular file"),
        (
            device,
            "`device.c`: it is a device, wanted is a regular file",
        ),
        (
            huge,
            "`huge.c`: it has 4194305 bytes, at most 4194304 are read",
        ),
    ] {
        let told = cc.build("x_wsh", &[source]).unwrap_err();
        assert_eq!(told, format!("not built: {why}"));
    }
}
