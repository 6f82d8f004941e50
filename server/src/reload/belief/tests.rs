//! Every pair of state and observation, and the times that the rules name.

use super::*;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A file that was replaced at last: the first number says by which file, the second how often that was
/// written into, the third how often its mode was changed.
pub(super) fn stamp(file: u64, writes: i128, modes: i128) -> Stamp {
    Stamp::made_up(file, writes, writes + modes)
}

pub(super) fn passing() -> Refusal {
    Refusal::Unstaged("no space".to_owned())
}

pub(super) fn lasting() -> Refusal {
    Refusal::NoSymbol
}

pub(super) fn taken() -> Refusal {
    Refusal::RouteTaken {
        route: "/echo".to_owned(),
        by: "lib/echo_wsh.so".into(),
    }
}

pub(super) fn turn(is_eager: bool, age: Duration, route: RouteState) -> Observation {
    Observation::Turn(Turn {
        is_eager,
        age,
        route,
    })
}

/// A file in this state that has looked as it does for ten seconds.
fn belief(state: FileState, now: Instant) -> Belief {
    Belief {
        state,
        appearance: Appearance {
            stamp: stamp(1, 1, 1),
            since: now - ms(10_000),
            is_written_in_place: false,
        },
        obstruction: None,
    }
}

/// A state in a few letters, with times in milliseconds from now.
fn short_state(state: FileState, now: Instant) -> String {
    let decided = |decision| match decision {
        Decision::Open => "open".to_owned(),
        Decision::Made => "made".to_owned(),
        Decision::AwaitsRoute => "route".to_owned(),
        Decision::AwaitsRetry { at } => format!("retry+{}", (at - now).as_millis()),
    };
    match state {
        FileState::Present(decision) => decided(decision),
        FileState::Hidden(decision) => format!("hidden {}", decided(decision)),
        FileState::Barred => "barred".to_owned(),
        FileState::Missing { since } => format!("missing-{}", (now - since).as_millis()),
    }
}

/// An action in a few letters, with times in milliseconds from now.
fn short_action(action: &FileAction, now: Instant) -> String {
    let plus = |at: Instant| format!("+{}", (at - now).as_millis());
    match action {
        FileAction::Nothing => String::new(),
        FileAction::Wait { until } => format!(": wait{}", plus(*until)),
        FileAction::NoteChange => ": change".to_owned(),
        FileAction::AwaitReturn { until } => format!(": return{}", plus(*until)),
        FileAction::Remove => ": remove".to_owned(),
        FileAction::Read => ": read".to_owned(),
        FileAction::Load => ": load".to_owned(),
        FileAction::Keep { has_passed: false } => ": keep".to_owned(),
        FileAction::Keep { has_passed: true } => ": keep, passed".to_owned(),
        FileAction::TellPassed => ": passed".to_owned(),
        FileAction::Refuse(RefusalNotice { retry, is_news, .. }) => {
            let retry = retry.map_or(String::new(), plus);
            let again = if *is_news { "" } else { ", known" };
            format!(": refuse{retry}{again}")
        }
    }
}

fn short((belief, action): &(Belief, FileAction), now: Instant) -> String {
    short_state(belief.state, now) + &short_action(action, now)
}

/// Every observation of the table, by its name there.
fn observations(now: Instant) -> Vec<(&'static str, Observation)> {
    let until = now + ms(50);
    let old = ms(10_000);
    let turn = |route| turn(false, old, route);
    let read = Observation::Read;
    vec![
        ("found", Observation::Found(stamp(1, 1, 1))),
        ("other mode", Observation::Found(stamp(1, 1, 2))),
        ("other bytes", Observation::Found(stamp(1, 2, 1))),
        ("barred", Observation::Barred),
        ("hidden", Observation::Hidden),
        ("absent", Observation::Absent),
        ("turn", turn(RouteState::Free)),
        ("while loading", turn(RouteState::Loading)),
        ("while moving", turn(RouteState::Moving { until })),
        ("route taken", turn(RouteState::Taken(taken()))),
        ("read gone", read(ReadResult::Gone)),
        ("read changed", read(ReadResult::Changed)),
        ("read failed", read(ReadResult::Failed(passing()))),
        ("read serving", read(ReadResult::Serving)),
        ("read unfit", read(ReadResult::Unfit(lasting()))),
        ("read cut off", read(ReadResult::Unfit(Refusal::Empty))),
        ("read fit", read(ReadResult::Fit)),
        ("loaded", Observation::Loaded),
        ("refused", Observation::Refused(lasting())),
        ("obstructed", Observation::Refused(passing())),
        ("hurried", Observation::Hurried),
        ("route freed", Observation::RouteFreed),
        ("reconfigured", Observation::Reconfigured),
    ]
}

/// What each observation makes of a file, and what is to be done: of one that is present and undecided,
/// decided, refused for its route, to be tried again in 100 ms; of one that is barred, and of one that has
/// been missing for 100 ms.
#[rustfmt::skip]
const TABLE: &[(&str, [&str; 6])] = &[
    ("found",         ["open",                  "made",                  "route",                 "retry+100",             "open",               "open: change"]),
    ("other mode",    ["open",                  "open",                  "open",                  "open",                  "open",               "open: change"]),
    ("other bytes",   ["open: change",          "open: change",          "open: change",          "open: change",          "open: change",       "open: change"]),
    ("barred",        ["barred",                "barred",                "barred",                "barred",                "barred",             "barred"]),
    ("hidden",        ["hidden open",           "hidden made",           "hidden route",          "hidden retry+100",      "hidden open",        "hidden open"]),
    ("absent",        ["missing-0: return+400", "missing-0: return+400", "missing-0: return+400", "missing-0: return+400", "missing-0: return+400", "missing-100: wait+300"]),
    ("turn",          ["open: read",            "made",                  "route",                 "retry+100: wait+100",   "barred",             "missing-100"]),
    ("while loading", ["open",                  "made",                  "route",                 "retry+100: wait+100",   "barred",             "missing-100"]),
    ("while moving",  ["open: wait+50",         "made",                  "route",                 "retry+100: wait+100",   "barred",             "missing-100"]),
    ("route taken",   ["route: refuse",         "made",                  "route",                 "retry+100: wait+100",   "barred",             "missing-100"]),
    ("read gone",     ["open",                  "made",                  "route",                 "retry+100",             "barred",             "missing-100"]),
    ("read changed",  ["open: wait+25",         "made",                  "route",                 "retry+100: wait+25",    "barred",             "missing-100"]),
    ("read failed",   ["retry+250: refuse+250", "made",                  "route",                 "retry+250: refuse+250", "barred",             "missing-100"]),
    ("read serving",  ["made: keep",            "made",                  "route",                 "made: keep",            "barred",             "missing-100"]),
    ("read unfit",    ["made: refuse",          "made",                  "route",                 "made: refuse",          "barred",             "missing-100"]),
    ("read cut off",  ["made: refuse",          "made",                  "route",                 "made: refuse",          "barred",             "missing-100"]),
    ("read fit",      ["made: load",            "made",                  "route",                 "made: load",            "barred",             "missing-100"]),
    ("loaded",        ["open",                  "made",                  "route",                 "retry+100",             "barred",             "missing-100"]),
    ("refused",       ["open: refuse",          "made: refuse",          "route: refuse",         "retry+100: refuse",     "barred: refuse",     "missing-100: refuse"]),
    ("obstructed",    ["open: refuse+0",        "retry+250: refuse+250", "retry+250: refuse+250", "retry+250: refuse+250", "barred: refuse+250", "missing-100: refuse+250"]),
    ("hurried",       ["open",                  "made",                  "route",                 "open",                  "barred",             "missing-100"]),
    ("route freed",   ["open",                  "made",                  "open: wait+0",          "retry+100",             "barred",             "missing-100"]),
    ("reconfigured",  ["open",                  "open",                  "open",                  "open",                  "barred",             "missing-100"]),
];

#[test]
fn each_observation_of_each_state_has_one_outcome() {
    let now = Instant::now();
    let decisions = [
        Decision::Open,
        Decision::Made,
        Decision::AwaitsRoute,
        Decision::AwaitsRetry { at: now + ms(100) },
    ];
    let missing = FileState::Missing {
        since: now - ms(100),
    };
    let mut states: Vec<FileState> = decisions.map(FileState::Present).into();
    states.extend([FileState::Barred, missing]);
    let observations = observations(now);
    assert_eq!(TABLE.len(), observations.len());

    for ((name, observation), (row, cells)) in observations.iter().zip(TABLE) {
        assert_eq!(name, row);
        for (state, cell) in states.iter().zip(cells) {
            let found = belief(*state, now).after(observation, now);
            assert_eq!(short(&found, now), *cell, "{state:?}, {name}");
        }
        // A file that is out of sight is neither read nor given a turn. Everything else is as if it was
        // there, and where it stays out of sight, it does so.
        for (decision, cell) in decisions.iter().zip(cells) {
            let found = belief(FileState::Hidden(*decision), now).after(observation, now);
            let is_look = matches!(
                observation,
                Observation::Found(_)
                    | Observation::Barred
                    | Observation::Hidden
                    | Observation::Absent
            );
            let wanted = match observation {
                _ if is_look => (*cell).to_owned(),
                Observation::Turn(_) | Observation::Read(_) => {
                    short_state(FileState::Hidden(*decision), now)
                }
                _ => format!("hidden {cell}"),
            };
            assert_eq!(short(&found, now), wanted, "hidden {decision:?}, {name}");
        }
    }
}

#[test]
fn only_an_absence_that_lasts_is_a_removal() {
    let start = Instant::now();
    let mut file = Belief::new(stamp(1, 1, 1), start);
    let mut see = |observation, at, wanted: &str| {
        let now = start + ms(at);
        let after = file.after(&observation, now);
        assert_eq!(short(&after, now), wanted, "{observation:?} at {at} ms");
        file = after.0;
    };

    see(Observation::Absent, 0, "missing-0: return+400");
    see(Observation::Absent, 399, "missing-399: wait+1");
    // An absence that was seen before has not lasted as far as is known.
    see(Observation::Hidden, 400, "hidden open");
    see(Observation::Absent, 600, "missing-0: return+400");
    see(Observation::Absent, 1_000, "missing-400: remove");
}

#[test]
fn a_file_is_read_when_it_was_left_alone() {
    let start = Instant::now();
    let replaced = Belief::new(stamp(1, 1, 1), start);
    let (written, _) = replaced.after(&Observation::Found(stamp(1, 2, 1)), start);
    let other = replaced.after(&Observation::Found(stamp(2, 2, 1)), start).0;
    for (file, is_eager, seen, age, wanted) in [
        (&replaced, false, 0, 0, "open: wait+25"),
        (&replaced, false, 24, 10, "open: wait+1"),
        (&replaced, false, 25, 0, "open: read"),
        (&replaced, false, 0, 25, "open: read"),
        (&replaced, true, 0, 0, "open: read"),
        (&other, false, 0, 0, "open: wait+25"),
        (&written, false, 25, 0, "open: wait+175"),
        (&written, false, 200, 0, "open: read"),
        (&written, false, 0, 200, "open: read"),
    ] {
        let now = start + ms(seen);
        let found = file.after(&turn(is_eager, ms(age), RouteState::Free), now);
        assert_eq!(short(&found, now), wanted, "after {seen} ms, age {age} ms");
    }
}

#[test]
fn the_rest_of_an_incomplete_file_is_waited_for() {
    let start = Instant::now();
    let file = Belief::new(stamp(1, 1, 1), start);
    let cut_off = Observation::Read(ReadResult::Unfit(Refusal::CutOff {
        found: 1,
        wanted: 2,
    }));
    let malformed = Observation::Read(ReadResult::Unfit(lasting()));
    for (observation, seen, wanted) in [
        (&cut_off, 0, "open: wait+1000"),
        (&cut_off, 999, "open: wait+1"),
        (&cut_off, 1_000, "made: refuse"),
        (&malformed, 0, "made: refuse"),
    ] {
        let now = start + ms(seen);
        let found = file.after(observation, now);
        assert_eq!(short(&found, now), wanted, "after {seen} ms");
    }
}

#[test]
fn what_failed_for_a_passing_reason_is_tried_again_less_and_less_often() {
    let mut now = Instant::now();
    let mut file = belief(FileState::Present(Decision::Made), now);
    let observe = |file: &mut Belief, observation: Observation, now| {
        let after = file.after(&observation, now);
        *file = after.0.clone();
        short(&after, now)
    };

    for (attempt, pause) in [250, 500, 1000, 2000, 4000, 8000, 8000].iter().enumerate() {
        let known = if attempt == 0 { "" } else { ", known" };
        let wanted = format!("retry+{pause}: refuse+{pause}{known}");
        let refused = Observation::Refused(passing());
        assert_eq!(observe(&mut file, refused, now), wanted);
        let early = turn(true, ms(0), RouteState::Free);
        let waits = format!("retry+{pause}: wait+{pause}");
        assert_eq!(observe(&mut file, early.clone(), now), waits);
        now += ms(*pause);
        assert_eq!(observe(&mut file, early, now), "retry+0: read");
        observe(&mut file, Observation::Read(ReadResult::Fit), now);
    }

    let other = Observation::Refused(Refusal::NoThread("none".to_owned()));
    assert_eq!(
        observe(&mut file, other, now),
        "retry+8000: refuse+8000",
        "another reason is news"
    );
    observe(&mut file, Observation::Hurried, now);
    observe(&mut file, Observation::Read(ReadResult::Fit), now);
    let loaded = Observation::Loaded;
    assert_eq!(observe(&mut file, loaded.clone(), now), "made: passed");
    assert_eq!(observe(&mut file, loaded, now), "made");
    let refused = Observation::Refused(passing());
    assert_eq!(
        observe(&mut file, refused, now),
        "retry+250: refuse+250",
        "it begins anew"
    );
    let serving = Observation::Read(ReadResult::Serving);
    assert_eq!(observe(&mut file, serving, now), "made: keep, passed");
}

/// The refusal that is told.
pub(super) fn told(action: &FileAction) -> Refusal {
    match action {
        FileAction::Refuse(refuse) => refuse.refusal.clone(),
        other => panic!("{other:?} is no refusal"),
    }
}

#[test]
fn a_file_whose_trials_lose_the_helper_three_times_is_at_fault() {
    let now = Instant::now();
    let other = Refusal::Untried("another one's doing".to_owned());
    let mut file = belief(FileState::Present(Decision::Made), now);
    let refuse = |file: &mut Belief, refusal: &Refusal| {
        let (after, action) = file.after(&Observation::Refused(refusal.clone()), now);
        *file = after;
        told(&action)
    };

    for refusal in [&Refusal::LosesHelper, &other, &Refusal::LosesHelper, &other] {
        assert_eq!(refuse(&mut file, refusal), *refusal);
    }
    let last = refuse(&mut file, &Refusal::LosesHelper);
    assert_eq!(last, Refusal::LostHelper { trials: 3 });
    assert!(!last.is_passing());

    // New content begins anew.
    refuse(&mut file, &Refusal::LosesHelper);
    refuse(&mut file, &Refusal::LosesHelper);
    file = file.after(&Observation::Found(stamp(2, 2, 1)), now).0;
    file = file.after(&Observation::Read(ReadResult::Fit), now).0;
    for _ in 0..2 {
        assert_eq!(
            refuse(&mut file, &Refusal::LosesHelper),
            Refusal::LosesHelper
        );
    }
}
