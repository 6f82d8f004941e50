use super::*;

#[test]
fn each_item_that_changed_is_found_and_no_other() {
    let file = |inode| {
        Some(FileIdentity {
            device: 1,
            inode,
            kind: FileType::RegularFile,
        })
    };
    let was = ProcessState {
        signals: vec![(0, 0); SIGNALS.len()],
        files: [file(1), None, file(3)],
        umask: Some(0o022),
        directory: file(4),
        locale: Some(c"C".to_owned()),
        open_files_max: 1024,
    };
    assert_eq!(was.differing(&was), []);
    type Change = fn(&mut ProcessState);
    let changes: [(Change, &[ProcessItem]); 10] = [
        (|it| it.signals[3] = (1, 0), &[ProcessItem::Signal(3)]),
        (|it| it.signals[7] = (0, 4), &[ProcessItem::Signal(7)]),
        (|it| it.files[0] = None, &[ProcessItem::Descriptor(0)]),
        (
            |it| it.files[2] = it.files[0],
            &[ProcessItem::Descriptor(2)],
        ),
        // The descriptor was closed before, and any file may have its number now.
        (|it| it.files[1] = it.files[0], &[]),
        (|it| it.umask = Some(0), &[ProcessItem::Umask]),
        (|it| it.directory = None, &[ProcessItem::Directory]),
        (
            |it| it.locale = Some(c"de_DE.UTF-8".to_owned()),
            &[ProcessItem::Locale],
        ),
        (|it| it.open_files_max = 64, &[ProcessItem::OpenFilesMax]),
        (|it| it.open_files_max = u64::MAX, &[]),
    ];
    for (index, (change, found)) in changes.into_iter().enumerate() {
        let mut now = was.clone();
        change(&mut now);
        assert_eq!(was.differing(&now), found, "{index}");
    }
}

#[test]
fn each_item_says_what_it_is() {
    for (item, text) in [
        (ProcessItem::Signal(3), "what SIGTERM does"),
        (ProcessItem::Signal(8), "what SIGCHLD does"),
        (ProcessItem::Descriptor(2), "descriptor 2"),
        (ProcessItem::OpenFilesMax, "the limit of open files"),
    ] {
        assert_eq!(item.to_string(), text);
    }
}
