//! Random numbers from a seed.

use std::sync::{Mutex, PoisonError};

/// The same numbers for the same seed, in the order they are asked for.
pub struct SimRng(Mutex<ouzel_gen::Rng>);

impl SimRng {
    pub fn new(seed: u64) -> SimRng {
        SimRng(Mutex::new(ouzel_gen::Rng::new(seed)))
    }
}

impl seam::Rng for SimRng {
    fn fill(&self, bytes: &mut [u8]) {
        let mut rng = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&rng.next_u64().to_le_bytes()[..part.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use seam::Rng;

    use super::*;

    #[test]
    fn a_seed_fixes_what_is_drawn() {
        let draw = |seed| {
            let rng = SimRng::new(seed);
            let mut bytes = [0; 13];
            rng.fill(&mut bytes);
            (bytes, rng.next_u128(), rng.next_u128())
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let (bytes, first, second) = draw(1);
        assert!(first != second && bytes[8..] != [0; 5], "all of it is filled");
    }
}
