//! Says in the log what the owner of an input knows about time: which control records are due for which output. Pure:
//! the time is handed in. One for all partitions of a stage's input.
//!
//! ```text
//! data     each record carries its source's watermark: nothing else is needed
//! quiet    an output that got nothing from a source for 200 ms is told its watermark
//! idle     a source at the end of its input for `idle_after`: a floor that moves on with time
//! waking   before the first records after `empty` or `idle`, in the same commit: the source is active again
//! ```

use std::collections::BTreeMap;

use event::{Assertion, Control, Micros, Says, TopicId};

/// An output that got nothing from an input for this long is told its watermark. Microseconds.
const QUIET_US: i64 = 200_000;
/// What is told then is told of all that were quiet for this long: few commits go to outputs that have nothing else in them.
const SOON_US: i64 = QUIET_US / 2;
/// How often the floor of an idle input is told: a second, and once it has been idle for long, a 600th of that, at most a
/// minute: a session's end need not be known to the second half an hour later, and a night costs no disk.
const IDLE_EVERY_US: i64 = 1_000_000;
const IDLE_EVERY_MAX_US: i64 = 60_000_000;
const IDLE_SHARE: i64 = 600;

/// What was said of each input, and what is to be said next.
pub struct Punctuation {
    topic: TopicId,
    idle_after_us: i64,
    inputs: Vec<Input>,
}

struct Input {
    says: Says,
    watermark: Micros,
    /// Since when its owner has been at its end.
    at_end_since: Option<Micros>,
    /// When idleness was last told.
    told_at: Micros,
    /// Its owner took over, and has not said so.
    resumed: bool,
    /// Another process has it: nothing is said of it here.
    released: bool,
    /// By output partition: what was said there last, and when.
    outputs: Vec<Told>,
}

#[derive(Clone, Copy)]
struct Told {
    at: Micros,
    says: Option<Says>,
}

/// What an output heard of a source is not the last word on it. Nobody ever says this.
const OUTDATED: Says = Says::Idle(Micros::MIN);

/// The control records of one commit: before its data, and after it.
pub type Controls = BTreeMap<u32, Vec<Assertion>>;

impl Punctuation {
    /// `inputs`, `outputs`: partitions of the topic that is read and of the one that is written. `idle_after_us`:
    /// microseconds at the end of an input after which it is idle.
    pub fn new(topic: TopicId, inputs: u32, outputs: u32, idle_after_us: i64) -> Punctuation {
        let untold = Told { at: Micros::MIN, says: None };
        let input = || Input {
            says: Says::Empty,
            watermark: Micros::MIN,
            at_end_since: None,
            told_at: Micros::MIN,
            resumed: false,
            released: false,
            outputs: vec![untold; outputs as usize],
        };
        Punctuation { topic, idle_after_us, inputs: (0..inputs).map(|_| input()).collect() }
    }

    /// What an owner finds beside its committed position when it takes over: it says so again in its first commit.
    /// `watermark`: [`Micros::MIN`] for an input that never had a record.
    pub fn resume(&mut self, input: u32, watermark: Micros) {
        let input = &mut self.inputs[input as usize];
        input.watermark = watermark;
        input.says = if watermark == Micros::MIN { Says::Empty } else { Says::Watermark(watermark) };
        input.resumed = watermark != Micros::MIN;
        input.released = false;
        input.at_end_since = None;
        input.outputs.iter_mut().for_each(|told| told.says = told.says.map(|_| OUTDATED));
    }

    /// Another process has this input from now on, until it is resumed.
    pub fn release(&mut self, input: u32) {
        let input = &mut self.inputs[input as usize];
        input.released = true;
        input.resumed = false;
    }

    /// Whether what was last said of this input would let the watermark pass records that wait in it.
    pub fn is_resting(&self, input: u32) -> bool {
        let input = &self.inputs[input as usize];
        !input.released && !matches!(input.says, Says::Watermark(_))
    }

    /// Records wait in these inputs. What is given stands before the data of the commit that is being made: until now they
    /// were said to be empty or idle, or it is not known what was said of them.
    ///
    /// IMPORTANT: every input that has records when those of the commit were read must be among them, else the watermark
    /// passes by its records.
    pub fn wake(&mut self, inputs: impl Iterator<Item = u32>, now: Micros) -> Controls {
        let mut controls = Controls::new();
        let mut any = false;
        for partition in inputs {
            any = true;
            let input = &mut self.inputs[partition as usize];
            input.at_end_since = None;
            if matches!(input.says, Says::Watermark(_)) {
                continue;
            }
            input.says = Says::Watermark(input.watermark);
            for (output, told) in (0..).zip(&mut input.outputs) {
                // An output that heard nothing yet waits for everybody anyway.
                if told.says.is_some() {
                    *told = Told { at: now, says: Some(input.says) };
                    controls.entry(output).or_default().push(Assertion { partition, says: input.says });
                }
            }
        }
        // After a start, what all outputs heard last may be that these inputs rest.
        for (partition, input) in (0..).zip(&mut self.inputs).filter(|(_, i)| any && i.resumed) {
            input.resumed = false;
            for (output, told) in (0..).zip(&mut input.outputs) {
                *told = Told { at: now, says: Some(input.says) };
                controls.entry(output).or_default().push(Assertion { partition, says: input.says });
            }
        }
        controls
    }

    /// Records of this input were written to this output: each carries its source's watermark as of before it.
    pub fn wrote(&mut self, input: u32, output: u32, now: Micros) {
        let told = &mut self.inputs[input as usize].outputs[output as usize];
        *told = Told { at: now, says: Some(OUTDATED) };
    }

    /// A batch of this input was processed up to this watermark.
    pub fn reached(&mut self, input: u32, watermark: Micros) {
        let input = &mut self.inputs[input as usize];
        input.watermark = input.watermark.max(watermark);
        input.says = Says::Watermark(input.watermark);
    }

    /// This input has nothing to read.
    pub fn at_end(&mut self, input: u32, now: Micros) {
        let idle_after = self.idle_after_us;
        let input = &mut self.inputs[input as usize];
        let since = *input.at_end_since.get_or_insert(now);
        if input.watermark == Micros::MIN {
            return;
        }
        let idle_for = now.0 - since.0;
        if idle_for < idle_after {
            return;
        }
        let every = (idle_for / IDLE_SHARE).clamp(IDLE_EVERY_US, IDLE_EVERY_MAX_US);
        if matches!(input.says, Says::Idle(_)) && now.0 - input.told_at.0 < every {
            return;
        }
        input.told_at = now;
        input.says = Says::Idle(Micros(input.watermark.0.saturating_add(idle_for)));
    }

    /// Something has to be said now that there is a commit, or that time has passed: what it is, by output. Of `mine`
    /// only, the inputs whose owner asks.
    pub fn due(&mut self, mine: impl Iterator<Item = u32> + Clone, now: Micros) -> Controls {
        let mut controls = Controls::new();
        // As long as nobody ever had a record, nobody waits for a watermark. Of what others have nothing is known here.
        if self.inputs.iter().all(|i| i.watermark == Micros::MIN && !i.released) {
            return controls;
        }
        let is_due = |told: &Told, says: Says, after: i64| {
            let quiet = told.says.is_none() || !matches!(says, Says::Watermark(_));
            told.says != Some(says) && (quiet || now.0.saturating_sub(told.at.0) >= after)
        };
        let mut inputs = mine.clone().map(|p| &self.inputs[p as usize]);
        if !inputs.any(|i| i.outputs.iter().any(|told| is_due(told, i.says, QUIET_US))) {
            return controls;
        }
        for partition in mine {
            let input = &mut self.inputs[partition as usize];
            for (output, told) in (0..).zip(&mut input.outputs).filter(|(_, told)| is_due(told, input.says, SOON_US)) {
                *told = Told { at: now, says: Some(input.says) };
                controls.entry(output).or_default().push(Assertion { partition, says: input.says });
            }
        }
        controls
    }

    /// A commit with records of this input did not happen, or nobody knows: what it said is to be said again, and what it
    /// would have reached is not reached. `watermark`: that of the committed position.
    pub fn take_back(&mut self, input: u32, watermark: Micros) {
        let input = &mut self.inputs[input as usize];
        input.watermark = watermark;
        // Whatever was said last, its records wait.
        input.says = Says::Watermark(watermark);
        input.resumed = true;
        for told in &mut input.outputs {
            told.at = Micros::MIN;
            told.says = told.says.map(|_| OUTDATED);
        }
    }

    /// What ends everything: every input has ended, every timer is due.
    pub fn close(&self, now: Micros) -> Control {
        let ended = |(partition, i): (u32, &Input)| Assertion { partition, says: Says::Ended(i.watermark) };
        let assertions = (0..).zip(&self.inputs).map(ended).collect();
        Control { close: true, ..self.record(assertions, now) }
    }

    /// The control record that says this.
    pub fn record(&self, assertions: Vec<Assertion>, now: Micros) -> Control {
        Control { topic: self.topic, sources: self.inputs.len() as u32, assertions, close: false, received_time: now }
    }
}

#[cfg(test)]
mod tests {
    use event::topic::RAW;

    use super::*;

    const S: i64 = 1_000_000;

    fn punctuation() -> Punctuation {
        Punctuation::new(RAW, 2, 2, 5 * S)
    }

    fn says(controls: &Controls, output: u32) -> Vec<(u32, Says)> {
        controls.get(&output).into_iter().flatten().map(|a| (a.partition, a.says)).collect()
    }

    #[test]
    fn nothing_is_said_before_there_is_an_event() {
        let mut p = punctuation();
        p.at_end(0, Micros(0));
        assert!(p.due(0..2, Micros(S)).is_empty());
    }

    #[test]
    fn beside_others_an_empty_input_is_told_at_once() {
        let mut p = punctuation();
        p.release(1);
        let due = p.due(0..1, Micros(0));
        assert_eq!((says(&due, 0), says(&due, 1)), (vec![(0, Says::Empty)], vec![(0, Says::Empty)]));
        assert!(p.due(0..1, Micros(S)).is_empty(), "once");
    }

    #[test]
    fn an_empty_input_is_told_with_the_first_event_and_wakes_before_its_own() {
        let mut p = punctuation();
        assert!(p.wake([0].into_iter(), Micros(S)).is_empty(), "nobody was told anything yet");
        p.wrote(0, 1, Micros(S));
        p.reached(0, Micros(40));
        let due = p.due(0..2, Micros(S));
        assert_eq!(says(&due, 0), [(0, Says::Watermark(Micros(40))), (1, Says::Empty)]);
        assert_eq!(says(&due, 1), [(1, Says::Empty)], "output 1 has it from the record itself, for 200 ms");
        let due = p.due(0..2, Micros(S + QUIET_US));
        assert_eq!(says(&due, 1), [(0, Says::Watermark(Micros(40)))]);
        assert!(p.due(0..2, Micros(9 * S)).is_empty(), "there is no news");
        assert!(p.is_resting(1));
        let woken = p.wake([1].into_iter(), Micros(9 * S));
        assert_eq!(says(&woken, 0), [(1, Says::Watermark(Micros::MIN))]);
        assert_eq!(says(&woken, 1), [(1, Says::Watermark(Micros::MIN))]);
    }

    #[test]
    fn outputs_with_nothing_else_are_told_together() {
        let mut p = Punctuation::new(RAW, 2, 4, 5 * S);
        let (mut told_at, mut last) = (BTreeMap::<i64, usize>::new(), BTreeMap::new());
        for ms in (0..3_000).step_by(20) {
            let now = Micros(ms * 1000);
            // Each input's records go to one output; those of the second went to all for a while.
            (0..4).filter(|_| ms <= 100).for_each(|output| p.wrote(1, output, now));
            for input in 0..2 {
                p.wrote(input, input, now);
                p.reached(input, now);
            }
            for (output, of) in p.due(0..2, now) {
                *told_at.entry(ms).or_default() += 1;
                for a in of {
                    let before = last.insert((a.partition, output), ms).unwrap_or(ms - 200);
                    assert!(ms < 400 || ms - before <= 200, "input {} in output {output}: {before}, {ms}", a.partition);
                }
            }
        }
        assert!(told_at.len() <= 3_000 / 200 + 3, "{told_at:?}");
    }

    #[test]
    fn an_idle_input_has_a_floor_that_moves_with_time_ever_more_seldom() {
        let mut p = punctuation();
        p.wrote(0, 0, Micros(0));
        p.reached(0, Micros(100 * S));
        let _ = p.due(0..2, Micros(0));
        let mut told = Vec::new();
        for ms in 0..3_600_000 / 50 {
            let now = Micros(ms * 50_000);
            p.at_end(0, now);
            told.extend(says(&p.due(0..1, now), 1).into_iter().map(|(_, s)| (now, s)));
        }
        assert_eq!(told[0], (Micros(5 * S), Says::Idle(Micros(105 * S))));
        assert_eq!(told[1], (Micros(6 * S), Says::Idle(Micros(106 * S))));
        assert!((1000..2000).contains(&told.len()), "{}", told.len());
    }

    #[test]
    fn after_a_start_the_first_commit_says_again_before_its_data_what_holds() {
        let mut p = punctuation();
        p.resume(0, Micros(30));
        p.resume(1, Micros(20));
        let woken = p.wake([0].into_iter(), Micros(S));
        assert_eq!(says(&woken, 1), [(0, Says::Watermark(Micros(30))), (1, Says::Watermark(Micros(20)))]);
        assert!(p.wake([0].into_iter(), Micros(S)).is_empty());
    }

    #[test]
    fn what_did_not_happen_was_not_reached_and_is_said_again() {
        let mut p = punctuation();
        p.wrote(0, 0, Micros(0));
        p.reached(0, Micros(7));
        assert_eq!(p.due(0..2, Micros(S)).len(), 2);
        p.wrote(0, 0, Micros(2 * S));
        p.reached(0, Micros(9));
        p.take_back(0, Micros(7));
        // Another cut of the same records: it must not be told what only the whole would have reached.
        assert_eq!(says(&p.wake([0].into_iter(), Micros(2 * S)), 1), [(0, Says::Watermark(Micros(7)))]);
        p.reached(0, Micros(8));
        assert_eq!(says(&p.due(0..2, Micros(3 * S)), 1), [(0, Says::Watermark(Micros(8)))]);
    }
}
