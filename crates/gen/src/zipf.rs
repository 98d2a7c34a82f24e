//! What is wanted often: rank k with a weight near 1/k.

use crate::rng::Draws;

/// A rank in `0..n`, drawn by Zipf's law from rank `flat` on; the ranks before are about as likely as each other. `n`
/// must not be 0.
///
/// Under a weight of 1/k every doubling of k weighs the same, so a doubling is drawn, then a place in it: no table,
/// whatever `n` is, and integers only, so that a seed means the same on every machine. Within a doubling the ranks are
/// equal: a rank's weight is between 0.7 and 1.4 times that of the law.
pub fn rank(n: u64, flat: u64, draws: &mut Draws) -> u64 {
    let (from, to) = (flat + 1, flat + 1 + n);
    let (first, doublings) = (from.ilog2(), u64::from(to.ilog2() - from.ilog2()) + 1);
    loop {
        let low = 1 << (u64::from(first) + draws.below(doublings));
        let k = low + draws.below(low);
        if (from..to).contains(&k) {
            return k - from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_about_as_often_as_the_law_says() {
        let mut draws = Draws::new(3);
        let mut seen = vec![0f64; 1000];
        const DRAWS: u32 = 400_000;
        for _ in 0..DRAWS {
            seen[rank(1000, 0, &mut draws) as usize] += 1.0;
        }
        let total: f64 = (1..=1000).map(|k| 1.0 / f64::from(k)).sum();
        for k in [1u32, 2, 3, 10, 100, 900] {
            let expected = f64::from(DRAWS) / (f64::from(k) * total);
            let got = seen[k as usize - 1];
            assert!((0.6..1.6).contains(&(got / expected)), "rank {k}: {got} of {expected}");
        }
    }

    #[test]
    fn every_rank_is_reached_and_none_beyond() {
        for (n, flat) in [(1, 0), (2, 0), (7, 0), (9, 100), (64, 63)] {
            let mut draws = Draws::new(n);
            let mut seen = vec![false; n as usize];
            for _ in 0..3000 {
                seen[rank(n, flat, &mut draws) as usize] = true;
            }
            assert!(seen.iter().all(|s| *s), "{n} ranks, flat {flat}");
        }
    }
}
