//! Stories: named disasters. Each takes a calm world, lets one thing go wrong in it, and ends when everything has come to
//! rest and the world's oracle has found every law kept. A story whose fault did not fire has proved nothing, and fails.
//!
//! | of "Faults to survive" (`reliability.md`) | told in |
//! |---|---|
//! | kill -9 at random, at every named point | `process`: `killed_at_any_moment_..`, `killed_at_every_named_point_..`, which names the points that are passed elsewhere |
//! | power loss | `disk`: `the_power_goes_between_..`, `the_power_goes_in_the_middle_..` |
//! | torn tail, damage in the middle | `disk`: `a_torn_tail_..`, `damage_in_the_middle_..`; byte by byte in `crates/log/tests/journal/damage.rs` |
//! | fsync EIO once | `disk`: `an_fsync_that_fails_once_..`, `an_fsync_that_fails_under_a_snapshot_..` |
//! | disk full slowly and at once | `disk`: `a_disk_that_fills_up_..`, `killed_on_a_full_disk_..`. Read-only *before* it is full: `crates/log/tests/journal/disk.rs`; the 503: `crates/door/tests/http/ingest.rs` |
//! | slow disk | `disk`: `a_slow_disk_..` |
//! | memory limit | not yet: a world counts no bytes of memory |
//! | SIGSTOP for 30 s | `process`: `a_process_that_stands_still_..`; `kafka`: `a_worker_that_stands_still_..` |
//! | clock jumps | `process`: `clocks_that_are_set_..` |
//! | events two hours ahead, year 9999, negative | `events`: `events_two_hours_ahead_..`, `clients_whose_clocks_..`, `times_beyond_all_bounds_..` |
//! | late and shuffled | `events`: `late_and_shuffled_..` |
//! | client retries after a lost answer | `events`: `clients_that_never_heard_..` |
//! | same id, other payload | `events`: `an_id_that_is_taken_..` |
//! | two processes on one data directory | the lock is the real file system's: `crates/log/tests/journal/directory.rs`, `a_second_writer_is_refused_and_told_by_whom`; `crates/cli/tests/first_hour.rs`, `a_second_writer_is_refused_by_name` |
//! | lookup source: timeout, down, slow, wrong answers | `facts`: all of it. 500, slow drip, 10 MB body, reset, bad certificate: on real sockets, `crates/lookup/tests/remote`, and with the program around it `crates/cli/tests/facts.rs` |
//! | half-written reference file | `crates/lookup/tests/corrupt.rs`, `table_reload.rs`; `crates/node/tests/assets/crashes.rs` |
//! | reload under load: good, bad, 50 times | `facts`: `fifty_reloads_..`; bad files in `crates/cli/tests/reload.rs` |
//! | SIGTERM with full queues | `process`: `stopped_in_good_order_..` |
//! | an event that panics an operator | `process`: `an_event_that_panics_..`, `what_panicked_an_operator_..` |
//! | dependency down for every event | `facts`: `a_source_that_is_down_for_every_event_..` |
//! | redo cancelled, crashed, run twice | not yet: there is no redo |
//! | overload 3x for 60 s | `events`: `three_times_the_clients_..`; what a door sheds: `crates/door/tests/http/ingest.rs`, `above_the_bound_on_bytes_in_flight_..` |
//! | hot key | `events`: `a_hot_visitor_..` |
//! | Kafka: broker restart | not yet: the simulated broker does not die; `kafka`: `doors_that_die_..` is the nearest |
//! | Kafka: rebalance in a batch, fenced producer | `kafka`: `workers_that_join_..`, `a_worker_that_was_given_up_..`, `a_worker_that_dies_..`, `fenced_in_the_middle_..` |
//! | Kafka: unknown commit outcome, aborts | `kafka`: `commits_whose_outcome_..`, `commits_that_are_aborted_..` |
//! | Kafka: hung transaction | not yet: needs a coordinator that holds positions unstable |
//! | snapshots and dedup runs that rot, object store down, savepoint under load | `disk`: `.._that_rot_..`; `kafka`: `an_object_store_..`; `process`: `a_savepoint_..` |
//! | lake, Redis, upgrade over the previous version's data | not yet: none of them is there |

#![cfg(feature = "faults")]

mod disk;
mod events;
mod facts;
mod kafka;
mod process;
mod single;
mod tell;
