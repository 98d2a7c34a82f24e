//! What happens to a disk: the power goes, it is full, slow, fails, or rots.

use ouzel_sim::fs::{Loss, LossyFs};
use ouzel_sim::world::process::data_dir;
use ouzel_sim::world::{Disaster, Shape};

use super::single::{Single, line, segments};
use super::tell::{again, fired_in_all, ms, tell, values};

#[test]
fn the_power_goes_between_two_writes_and_nothing_acknowledged_is_gone() {
    for told in tell(Shape::Embedded, |s| s.script = again(12, ms(500), Disaster::PowerLoss)) {
        told.fired("power.loss", 3);
    }
}

#[test]
fn the_power_goes_in_the_middle_of_a_write_and_nothing_acknowledged_is_gone() {
    for told in tell(Shape::Embedded, |s| s.script = again(14, ms(500), Disaster::PowerCut)) {
        told.fired("power.cut", 3);
    }
}

#[test]
fn a_torn_tail_is_cut_off_and_what_was_answered_stays() {
    let mut torn = 0;
    for seed in 1..=60 {
        let disk = LossyFs::new();
        let mut single = Single::open(&disk).expect("an empty disk");
        disk.cut_at(8 + seed % 7);
        let mut answered = 0;
        while disk.is_on() {
            let batch: String =
                (0..8).map(|n| line(&format!("{answered}-{n}"), "v", "\"2026-11-27T12:00:00Z\"")).collect();
            answered += u64::from(single.send(&batch).is_some());
        }
        drop(single);
        let disk = disk.crash(Loss::Some { seed });
        let report = log::journal::verify(data_dir(), &disk);
        torn += u64::from(report.is_ok_and(|r| r.torn.is_some()));
        let mut single = Single::open(&disk).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        single.work().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let enriched = values(&single.broker, event::topic::ENRICHED).len() as u64;
        assert!(
            enriched == 8 * answered || enriched == 8 * (answered + 1),
            "seed {seed}: {enriched} of {answered} batches"
        );
    }
    assert!(torn > 5, "only {torn} tails were torn");
}

#[test]
fn damage_in_the_middle_stops_who_reads_it_with_file_and_offset() {
    let disk = LossyFs::new();
    let mut single = Single::open(&disk).expect("an empty disk");
    for batch in 0..40 {
        let lines: String = (0..8).map(|n| line(&format!("{batch}-{n}"), "v", "\"2026-11-27T12:00:00Z\"")).collect();
        single.send(&lines).expect("stored");
    }
    drop(single);
    let disk = disk.crash(Loss::Nothing);
    let all = segments(&disk);
    assert!(all.len() > 4, "{all:?}");
    // Beyond the first frame of a sealed segment, which no stage has read yet.
    assert!(disk.flip_bit(&all[2], 8 * (20 << 10)));
    let says = |why: String| {
        let name = all[2].file_name().expect("a file").to_string_lossy().into_owned();
        assert!(why.contains(&name) && why.contains("at byte"), "{why}");
    };
    let mut single = match Single::open(&disk) {
        Ok(single) => single,
        Err(why) => return says(why),
    };
    says(single.work().expect_err("a rotten event was passed on, or over"));
    let enriched = values(&single.broker, event::topic::ENRICHED);
    let (first, last) = (&enriched[0]["messageId"], &enriched[enriched.len() - 1]["messageId"]);
    assert_eq!(first, "0-0");
    assert!(enriched.len() < 40 * 8, "up to {last}");
}

#[test]
fn an_fsync_that_fails_once_stops_the_process_and_the_next_one_goes_on() {
    // Not when snapshots are due: their syncs would be those that fail.
    let told = tell(Shape::Embedded, |s| s.script = again(6, ms(770), Disaster::SyncFails));
    for told in &told {
        told.fired("disk.sync_fails", 3);
        told.fired("process.stops", 1);
    }
    fired_in_all(&told, "process.stops", 6);
}

#[test]
fn an_fsync_that_fails_under_a_snapshot_costs_the_snapshot_even_when_the_power_goes_then() {
    let told = tell(Shape::Embedded, |s| {
        // Every half second one is due.
        s.script = again(5, ms(1000), Disaster::SyncFails);
        s.script.extend((1..=5).map(|n| (ms(1000 * n + 400), Disaster::PowerLoss)));
    });
    for told in &told {
        told.fired("disk.sync_fails", 2);
        told.fired("power.loss", 2);
        told.fired("snapshot.taken", 1);
    }
    let (failed, stopped): (u64, u64) =
        told.iter().fold((0, 0), |(f, s), t| (f + t.count("disk.sync_fails"), s + t.count("process.stops")));
    assert!(failed > stopped, "all {failed} syncs that failed were the log's");
}

#[test]
fn a_disk_that_fills_up_at_once_stops_nothing_for_good() {
    for told in tell(Shape::Embedded, |s| {
        s.script = vec![(ms(1000), Disaster::DiskLeft(0, ms(3000))), (ms(6000), Disaster::DiskLeft(0, ms(2000)))];
    }) {
        told.fired("disk.full", 2);
        told.fired("commit.no_room", 10);
        assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
    }
}

#[test]
fn a_disk_that_fills_up_slowly_stops_nothing_for_good() {
    for told in tell(Shape::Embedded, |s| s.script = vec![(ms(500), Disaster::DiskLeft(700_000, ms(9000)))]) {
        told.fired("disk.full", 1);
        told.fired("commit.no_room", 10);
        assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
    }
}

#[test]
fn killed_on_a_full_disk_it_starts_when_there_is_room() {
    for told in tell(Shape::Embedded, |s| {
        s.script = vec![(ms(1000), Disaster::DiskLeft(0, ms(4000)))];
        s.script.extend(again(3, ms(1100), Disaster::Kill));
    }) {
        told.fired("disk.full", 1);
        told.fired("kill", 1);
    }
}

#[test]
fn a_slow_disk_delays_and_nothing_else() {
    for told in tell(Shape::Embedded, |s| s.log_takes_us = (30_000, 400_000)) {
        told.fired("commit.slow", 100);
        assert_eq!(told.report.crashes, 0, "seed {}", told.seed);
    }
}

#[test]
fn snapshots_that_rot_cost_time_and_no_event() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| s.script = again(6, ms(900), Disaster::RotNewest("state"))) {
            told.fired("disk.rot", 3);
        }
    }
}

#[test]
fn dedup_runs_that_rot_let_no_duplicate_through() {
    for shape in [Shape::Embedded, Shape::Kafka] {
        for told in tell(shape, |s| {
            s.rules.dedup.generation = 16;
            s.clients.iter_mut().for_each(|c| c.resend_per_mille = 300);
            s.script = again(6, ms(900), Disaster::RotNewest("dedup"));
        }) {
            told.fired("disk.rot", 3);
            assert!(told.outputs.raw.len() > told.outputs.enriched.len() + 200, "seed {}", told.seed);
        }
    }
}
