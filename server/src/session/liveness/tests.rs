use super::*;

const TIMEOUTS: Timeouts = Timeouts {
    ping_interval: 25_000,
    pong: 10_000,
    outbound: 60_000,
    message: 60_000,
    close: 5_000,
};

const IDLE: Facts = Facts {
    hears: true,
    queued_since: None,
    taken: 200,
    unacked: 0,
    message_bytes: 0,
};

fn at(ms: u64) -> Moment {
    Moment::ORIGIN.after(ms)
}

fn liveness() -> Liveness {
    let mut liveness = Liveness::new();
    liveness.last_heard = at(0);
    liveness
}

/// Everything that a session does until `end`, if it looks at its peer only when a look is due.
fn run(
    liveness: &mut Liveness,
    timeouts: &Timeouts,
    end: u64,
    mut facts: impl FnMut(u64) -> Facts,
) -> Vec<(u64, LivenessVerdict)> {
    let (mut now, mut seen) = (0, Vec::new());
    loop {
        let Some((due, _)) = liveness.next(true, &facts(now), timeouts) else {
            return seen;
        };
        // The timer wheel turns ten times a second.
        now = due.ms_since(Moment::ORIGIN).div_ceil(100) * 100;
        if now > end {
            return seen;
        }
        let facts = facts(now);
        match liveness.look(at(now), &facts, timeouts) {
            LivenessVerdict::Wait => {}
            LivenessVerdict::Ping => seen.push((now, LivenessVerdict::Ping)),
            verdict => {
                seen.push((now, verdict));
                return seen;
            }
        }
    }
}

#[test]
fn a_silent_peer_gets_its_pings_by_their_interval_until_the_first_is_overdue() {
    let seen = run(&mut liveness(), &TIMEOUTS, 100_000, |_| IDLE);
    assert_eq!(
        seen,
        [
            (25_000, LivenessVerdict::Ping),
            (35_100, LivenessVerdict::Silent)
        ]
    );

    let often = Timeouts {
        ping_interval: 1_000,
        pong: 3_000,
        ..TIMEOUTS
    };
    let seen = run(&mut liveness(), &often, 100_000, |_| IDLE);
    let pings = [1_000, 2_000, 3_000, 4_000].map(|at| (at, LivenessVerdict::Ping));
    assert_eq!(seen[..4], pings);
    assert_eq!(seen[4], (4_100, LivenessVerdict::Silent));
}

#[test]
fn an_answer_moves_the_next_ping_by_its_interval_and_not_by_the_pongs() {
    let mut liveness = liveness();
    let often = Timeouts {
        ping_interval: 1_000,
        ..TIMEOUTS
    };
    for second in 1..30 {
        let now = at(second * 1_000);
        assert_eq!(liveness.look(now, &IDLE, &often), LivenessVerdict::Ping);
        assert!(liveness.heard(now));
        let next = liveness.next(true, &IDLE, &often);
        assert_eq!(next, Some((now.after(1_000), false)));
    }
}

/// A peer that reads at this rate from a queue that never ends. Its TCP acknowledges in steps.
fn reader(bytes_a_second: u64, step: u64, until: u64) -> impl FnMut(u64) -> Facts {
    move |now| {
        let read = now.min(until) * bytes_a_second / 1_000;
        let acked = 100_000 + read / step * step;
        Facts {
            queued_since: Some(at(0)),
            taken: acked + 4_000_000,
            unacked: 4_000_000,
            ..IDLE
        }
    }
}

#[test]
fn a_reader_of_two_kib_a_second_lives_and_one_that_stops_does_not() {
    let for_ever = u64::MAX;
    for (rate, step) in [
        (2_048, 95_000),
        (10_240, 95_000),
        (204_800, 95_000),
        (2_048, 1_448),
    ] {
        let seen = run(
            &mut liveness(),
            &TIMEOUTS,
            3_600_000,
            reader(rate, step, for_ever),
        );
        assert_eq!(seen, [], "{rate} in steps of {step}");
    }
    let short = Timeouts {
        outbound: 3_000,
        ..TIMEOUTS
    };
    let seen = run(
        &mut liveness(),
        &short,
        3_600_000,
        reader(40_960, 95_000, for_ever),
    );
    assert_eq!(seen, [], "after the first step the next has its time");

    let seen = run(
        &mut liveness(),
        &TIMEOUTS,
        3_600_000,
        reader(2_048, 95_000, 0),
    );
    assert_eq!(seen, [(60_000, LivenessVerdict::Stalled)]);
    let seen = run(
        &mut liveness(),
        &TIMEOUTS,
        3_600_000,
        reader(1 << 20, 1_448, 20_000),
    );
    assert_eq!(seen, [(80_000, LivenessVerdict::Stalled)]);
}

#[test]
fn a_ping_waits_while_much_is_on_its_way_and_comes_when_that_has_arrived() {
    let seen = run(&mut liveness(), &TIMEOUTS, 50_000, |now| Facts {
        taken: 1_000_000,
        unacked: 1_000_000_u64.saturating_sub(now * 25),
        ..IDLE
    });
    // At 39.4 s little is on its way. What was sent may lie in the peer's own buffer.
    assert_eq!(seen, [(40_000, LivenessVerdict::Ping)]);
}

#[test]
fn a_peer_that_got_much_has_the_time_to_read_it_before_its_pong() {
    let mut liveness = liveness();
    let facts = Facts {
        taken: 100_000,
        ..IDLE
    };
    assert_eq!(
        liveness.look(at(25_000), &facts, &TIMEOUTS),
        LivenessVerdict::Ping
    );
    let until = 25_000 + 10_000 + 100_000 * 1_000 / 2_048;
    assert_eq!(
        liveness.look(at(until - 1), &facts, &TIMEOUTS),
        LivenessVerdict::Ping
    );
    assert_eq!(
        liveness.look(at(until), &facts, &TIMEOUTS),
        LivenessVerdict::Silent
    );
}

#[test]
fn a_message_has_its_time_and_more_for_what_came_of_it() {
    for (bytes, until) in [
        (0, 60_000),
        (65_535, 60_000),
        (65_536, 120_000),
        (1 << 24, 257 * 60_000),
    ] {
        let mut liveness = liveness();
        let facts = Facts {
            message_bytes: bytes,
            ..IDLE
        };
        assert!(liveness.note_message(true, || at(0)));
        assert!(!liveness.note_message(true, || at(9_999)));
        let just_before = at(until - 1);
        liveness.heard(just_before);
        assert_eq!(
            liveness.look(just_before, &facts, &TIMEOUTS),
            LivenessVerdict::Wait
        );
        assert_eq!(
            liveness.look(at(until), &facts, &TIMEOUTS),
            LivenessVerdict::Unfinished
        );
        liveness.note_message(false, || at(until));
        assert_eq!(
            liveness.look(at(until), &IDLE, &TIMEOUTS),
            LivenessVerdict::Wait
        );
    }
}

#[test]
fn a_peer_that_is_not_read_gets_pings_and_need_only_take_them() {
    let mut liveness = liveness();
    liveness.note_message(true, || at(0));
    let paused = Facts {
        hears: false,
        ..IDLE
    };
    liveness.set_rests(true, || at(0));
    let seen = run(&mut liveness, &TIMEOUTS, 500_000, |_| paused);
    let pings: Vec<_> = (1..=20)
        .map(|n| (n * 25_000, LivenessVerdict::Ping))
        .collect();
    assert_eq!(seen, pings);
    // The peer is read again, and its time begins anew.
    assert_eq!(
        liveness.look(at(510_000), &IDLE, &TIMEOUTS),
        LivenessVerdict::Wait
    );
    assert_eq!(
        liveness.look(at(534_999), &IDLE, &TIMEOUTS),
        LivenessVerdict::Wait
    );
    assert_eq!(
        liveness.look(at(535_000), &IDLE, &TIMEOUTS),
        LivenessVerdict::Ping
    );

    let never = Timeouts {
        ping_interval: 0,
        ..TIMEOUTS
    };
    assert_eq!(run(&mut liveness, &never, 3_600_000, |_| paused), []);

    let mut stops = reader(2_048, 95_000, 0);
    let stops = move |now| Facts {
        hears: false,
        ..stops(now)
    };
    let seen = run(&mut liveness, &TIMEOUTS, 3_600_000, stops);
    assert_eq!(seen, [(60_000, LivenessVerdict::Stalled)]);
}

#[test]
fn the_end_has_its_time_and_more_while_a_slow_link_carries_the_rest() {
    let mut liveness = liveness();
    liveness.start_closing(at(0), &TIMEOUTS);
    assert_eq!(
        liveness.next(false, &IDLE, &TIMEOUTS),
        Some((at(1_000), false)),
        "is something on its way?"
    );
    assert_eq!(
        liveness.look_at_end(at(4_999), &IDLE, &TIMEOUTS),
        LivenessVerdict::Wait
    );
    let next = liveness.next(false, &IDLE, &TIMEOUTS);
    assert_eq!(next, Some((at(5_000), false)));
    assert_eq!(
        liveness.look_at_end(at(5_000), &IDLE, &TIMEOUTS),
        LivenessVerdict::NotClosed
    );

    let mut reads = reader(20_480, 4_096, u64::MAX);
    liveness.start_closing(at(0), &TIMEOUTS);
    for second in 1..60 {
        let facts = reads(second * 1_000);
        let now = at(second * 1_000);
        assert_eq!(
            liveness.look_at_end(now, &facts, &TIMEOUTS),
            LivenessVerdict::Wait
        );
    }
    let facts = reads(60_000);
    assert_eq!(
        liveness.look_at_end(at(60_000), &facts, &TIMEOUTS),
        LivenessVerdict::NotClosed
    );
}

#[test]
fn an_idle_session_asks_the_kernel_for_nothing() {
    let mut liveness = liveness();
    for ping in 1..4 {
        let now = at(ping * 30_000);
        let facts = Facts {
            taken: 200 + 2 * ping,
            ..IDLE
        };
        assert!(!liveness.asks_unacked(&facts));
        assert_eq!(liveness.look(now, &facts, &TIMEOUTS), LivenessVerdict::Ping);
        liveness.heard(now);
    }
    let sent = Facts {
        taken: 100_000,
        ..IDLE
    };
    assert!(liveness.asks_unacked(&sent));
    let queued = Facts {
        queued_since: Some(at(0)),
        ..IDLE
    };
    assert!(liveness.asks_unacked(&queued));
    liveness.start_closing(at(0), &TIMEOUTS);
    assert!(liveness.asks_unacked(&IDLE));
}
