//! Torn tails are cut off, damage is located, and repair says what is lost.

use event::topic::{DLQ, ENRICHED, RAW};
use seam::RealFs;

use super::support::*;
use log::journal::{Journal, repair_quarantine, verify};
use log::{Log, LogError};

#[test]
fn any_cut_of_the_last_frame_recovers_to_the_commit_before() {
    let root = tempfile::tempdir().expect("a directory");
    let first = root.path().join("first");
    let log = open(&first);
    for n in 0..3 {
        must_commit_numbered(&*log, n, 300);
    }
    drop(log);
    let path = segments(&first).pop().expect("a segment");
    let (bytes, at) = (read_file(&path), frames(&path));
    let (last, end) = (at[at.len() - 2], at[at.len() - 1]);
    for cut in last..end {
        // The file ends there; or zeros follow, as in reserved space; or old bytes do, as when sectors come out of order.
        let mut zeros = bytes.clone();
        zeros[cut..].fill(0);
        let mut late = bytes.clone();
        late[last..cut.max(last + 1)].fill(0);
        let shapes = [&bytes[..cut], &zeros, &late];
        // Zeros from inside the padding on change nothing.
        let body_end = bytes[..end].iter().rposition(|b| *b != 0).expect("a body") + 1;
        for (shape, content) in shapes.into_iter().enumerate() {
            let expected = if shape == 1 && cut >= body_end { 3 } else { 2 };
            if shape == 2 && cut >= end - 1 || shape > 0 && cut % 16 != 7 {
                continue;
            }
            write_file(&path, content);
            let log = open(&first);
            let done = next_of(&*log);
            if shape == 0 && done == 3 {
                assert!(cut >= body_end, "a frame that is not whole was taken: cut at {cut}");
            } else {
                assert_eq!(done, expected, "shape {shape} cut at {cut}");
            }
            assert_eq!(keys(&*log, RAW.partition(0)).len() as u64, done);
            // And it goes on as if nothing had been.
            must_commit_numbered(&*log, done, 10);
            drop(log);
            let log = open(&first);
            assert_eq!(keys(&*log, RAW.partition(0)).len() as u64, done + 1);
            drop(log);
            for p in segments(&first) {
                if p != path {
                    remove(&p);
                }
            }
        }
    }
}

fn remove(path: &std::path::Path) {
    seam::Fs::remove(&RealFs, path).expect("removes");
}

#[test]
fn a_flipped_bit_in_the_middle_is_refused_with_file_and_offset() {
    let root = tempfile::tempdir().expect("a directory");
    let log = open(root.path());
    for n in 0..8 {
        must_commit_numbered(&*log, n, 300);
    }
    drop(log);
    let path = segments(root.path()).pop().expect("a segment");
    let (bytes, at) = (read_file(&path), frames(&path));
    for (i, frame) in at.iter().copied().enumerate().take(at.len() - 2) {
        // In the magic, in the header, in the directory, in the body.
        for inside in [0, 17, 70, 200] {
            flip(&path, frame + inside);
            match open_with(root.path(), config(), &FakeClock::new()).map(|_| ()) {
                Err(LogError::Damaged { file, at: found, .. }) => {
                    assert_eq!(
                        (file, found as usize),
                        (path.display().to_string(), frame),
                        "byte {inside} of frame {i}"
                    );
                }
                other => panic!("byte {inside} of frame {i}: {other:?}"),
            }
            let report = verify(root.path(), &RealFs).expect("verifies");
            assert!(!report.damage.is_empty() && report.torn.is_none(), "{report:?}");
            write_file(&path, &bytes);
        }
    }
    let report = verify(root.path(), &RealFs).expect("verifies");
    assert_eq!((report.damage.len(), report.records, report.frames), (0, 8, 8));
}

#[test]
fn rot_in_a_sealed_segment_is_met_when_it_is_read_and_never_skipped() {
    let root = tempfile::tempdir().expect("a directory");
    let log = open(root.path());
    for n in 0..120 {
        must_commit_numbered(&*log, n, 400);
    }
    log.maintain();
    drop(log);
    let all = segments(root.path());
    assert!(all.len() > 3);
    let at = frames(&all[1]);
    let hurt = at[2] + 250;
    flip(&all[1], hurt);
    let log = open(root.path());
    let tp = RAW.partition(0);
    let mut next = 0;
    let error = loop {
        match log.fetch(tp, next, 1) {
            Ok(fetch) => {
                assert_eq!(fetch.chunks[0].base, next, "a record was skipped");
                next = fetch.next;
            }
            Err(error) => break error,
        }
    };
    match error {
        LogError::Damaged { file, at: found, .. } => {
            assert_eq!(file, all[1].display().to_string());
            assert!((at[2] as u64..at[3] as u64).contains(&found));
        }
        other => panic!("{other}"),
    }
    assert_eq!(verify(root.path(), &RealFs).expect("verifies").damage.len(), 1);
}

#[test]
fn a_missing_segment_is_noticed() {
    let root = tempfile::tempdir().expect("a directory");
    let log = open(root.path());
    for n in 0..120 {
        must_commit_numbered(&*log, n, 400);
    }
    drop(log);
    let all = segments(root.path());
    remove(&all[1]);
    match open_with(root.path(), config(), &FakeClock::new()).map(|_| ()) {
        Err(LogError::Damaged { file, .. }) => assert_eq!(file, all[1].display().to_string()),
        other => panic!("{other:?}"),
    }
    let report = repair_quarantine(root.path(), &RealFs, &*FakeClock::new()).expect("repairs");
    let lost: u64 = report.lost.iter().map(|l| l.to - l.from).sum();
    assert!(report.lost.iter().all(|l| l.certain && l.partition == RAW.partition(0)), "{report:?}");
    let log = open(root.path());
    assert_eq!(keys(&*log, RAW.partition(0)).len() as u64, 120 - lost);
}

#[test]
fn a_lost_index_file_is_made_again() {
    let root = tempfile::tempdir().expect("a directory");
    let log = open(root.path());
    for n in 0..120 {
        must_commit_numbered(&*log, n, 400);
    }
    log.maintain();
    let before = keys(&*log, RAW.partition(0));
    drop(log);
    for (i, path) in segments(root.path()).iter().enumerate() {
        let idx = path.with_extension("idx");
        if seam::Fs::exists(&RealFs, &idx) {
            if i % 2 == 0 { remove(&idx) } else { flip(&idx, 40) }
        }
    }
    let log = open(root.path());
    assert_eq!(keys(&*log, RAW.partition(0)), before);
}

/// Commits `n` records to each of three partitions, one frame each.
fn fill(log: &Journal, n: u64) {
    for i in 0..n {
        let name = i.to_string();
        let tps = [RAW.partition(0), ENRICHED.partition(1), DLQ.partition(0)];
        must_commit(log, tps.iter().map(|tp| block_of(*tp, &name, 200)).collect());
        must_commit_numbered(log, i, 50);
    }
}

#[test]
fn repair_moves_damage_aside_and_says_what_is_lost() {
    // One place after another: begin, middle and last segment; header, directory and block.
    for (segment, frame, inside) in
        [(0, 0, 20), (0, 3, 20), (1, 0, 700), (1, 4, 70), (1, 5, 400), (2, 2, 70), (9, 0, 20), (9, 1, 70)]
    {
        let root = tempfile::tempdir().expect("a directory");
        let log = open(root.path());
        fill(&log, 40);
        let whole: Vec<_> = [RAW.partition(0), ENRICHED.partition(1), DLQ.partition(0)]
            .into_iter()
            .map(|tp| (tp, log::conformance::read_all(&*log, tp), log.bounds(tp).expect("bounds").1))
            .collect();
        log.maintain();
        drop(log);
        let all = segments(root.path());
        let path = all.get(segment).unwrap_or(all.last().expect("some"));
        let at = frames(path);
        assert!(at.len() > frame + 2, "nothing follows the frame");
        flip(path, at[frame] + inside);
        let named = format!("segment {segment} frame {frame} byte {inside}");

        let report = repair_quarantine(root.path(), &RealFs, &*FakeClock::new()).expect("repairs");
        assert!(!report.damage.is_empty() && !report.quarantined.is_empty(), "{named}: {report:?}");
        let again = verify(root.path(), &RealFs).expect("verifies");
        assert!(again.damage.is_empty(), "{named}: {again:?}");
        let log = open(root.path());
        for (tp, records, end) in &whole {
            let (start, now_end) = log.bounds(*tp).expect("bounds");
            assert!(now_end >= *end, "{named}: {tp} could give out {now_end} again, it had {end}");
            let lost: Vec<_> = report.lost.iter().filter(|l| l.partition == *tp).collect();
            let kept: Vec<_> = records
                .iter()
                .filter(|(o, _)| *o >= start && !lost.iter().any(|l| (l.from..l.to).contains(o)))
                .cloned()
                .collect();
            assert_eq!(log::conformance::read_all(&*log, *tp), kept, "{named}: {tp}, lost {lost:?}");
            let missing = records.len() - kept.len();
            assert!(missing <= 4, "{named}: {tp} lost {missing} records for one flipped bit");
        }
        assert_eq!(next_of(&*log), 40, "{named}");
        // It goes on, and holds a second look.
        must_commit_numbered(&*log, 40, 10);
        drop(log);
        let log = open(root.path());
        assert_eq!(next_of(&*log), 41, "{named}");
        drop(log);
        assert!(verify(root.path(), &RealFs).expect("verifies").damage.is_empty(), "{named}");
    }
}
