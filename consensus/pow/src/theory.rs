//! What theory says about attackers: formulas with their sources. For operators, documentation and tests; the engine never asks.
//!
//! Floating point, and none of it is agreed on.

/// Probability that an attacker with share `q` of the work, who starts in secret when a payment is put into a block, ever draws level
/// with a chain in which `z` blocks confirm it (its own block the first). To be adopted here it must have more work, so
/// [`overtake`] is what it really gets, and this is on the safe side.
///
/// Exact for exponential block times and no network delay: C. Grunspan and R. Pérez-Marco, "Double spend races", 2018 (arXiv
/// 1702.02867), theorem 1, P(z) = I_{4pq}(z, 1/2), in its finite form: 1 − Σ_{k<z} (p^z q^k − q^z p^k) · C(k+z−1, k). (Nakamoto's figure
/// of 2008 takes the attacker's progress for a Poisson number and is lower from a few blocks on.)
#[must_use]
pub fn double_spend(q: f64, z: u32) -> f64 {
    if q >= 0.5 || z == 0 {
        return 1.0;
    }
    let (p, z) = (1.0 - q, f64::from(z));
    let (mut honest, mut attacker) = (p.powf(z), q.powf(z));
    let mut sum = 0.0;
    let mut k = 0.0;
    while k < z {
        sum += honest - attacker;
        // From k to k + 1: the binomial grows by (k + z) / (k + 1), the powers by q and p.
        honest *= q * (k + z) / (k + 1.0);
        attacker *= p * (k + z) / (k + 1.0);
        k += 1.0;
    }
    (1.0 - sum).clamp(0.0, 1.0)
}

/// Probability that it ever has one block more, after `z` confirmations: the same race, one block longer. 1 − Σ_{k≤z} C(k+z−1, k) · p^z ·
/// q^k · (1 − (q/p)^(z+1−k)).
#[must_use]
pub fn overtake(q: f64, z: u32) -> f64 {
    if q >= 0.5 {
        return 1.0;
    }
    let p = 1.0 - q;
    let mut found = p.powi(z as i32);
    let mut sum = 1.0;
    for k in 0..=z {
        sum -= found * (1.0 - (q / p).powi((z + 1 - k) as i32));
        found *= q * f64::from(k + z) / f64::from(k + 1);
    }
    sum.clamp(0.0, 1.0)
}

/// Nakamoto's own figure (2008, section 11), for comparison.
#[must_use]
pub fn nakamoto(q: f64, z: u32) -> f64 {
    if q >= 0.5 {
        return 1.0;
    }
    let p = 1.0 - q;
    let lambda = f64::from(z) * q / p;
    let mut poisson = (-lambda).exp();
    let mut sum = 1.0;
    for k in 0..=z {
        sum -= poisson * (1.0 - (q / p).powi((z - k) as i32));
        poisson *= lambda / f64::from(k + 1);
    }
    sum.clamp(0.0, 1.0)
}

/// The least number of confirmations at which an attacker with share `q` succeeds with at most this probability; `None` from one
/// half on, where none is enough.
#[must_use]
pub fn confirmations(q: f64, at_most: f64) -> Option<u32> {
    if q >= 0.5 || at_most <= 0.0 {
        return None;
    }
    (1..10_000).find(|z| double_spend(q, *z) <= at_most)
}

/// Share of the chain's blocks that a selfish miner with share `alpha` of the work gets, when a share `gamma` of the others mines on
/// its block in a race: I. Eyal and E. G. Sirer, "Majority is not enough: Bitcoin mining is vulnerable", 2014, equation 8.
#[must_use]
pub fn selfish_share(alpha: f64, gamma: f64) -> f64 {
    let gained = alpha * (1.0 - alpha).powi(2) * (4.0 * alpha + gamma * (1.0 - 2.0 * alpha)) - alpha.powi(3);
    gained / (1.0 - alpha * (1.0 + (2.0 - alpha) * alpha))
}

/// From this share on selfish mining pays (the same, section 4.2): (1 − γ) / (3 − 2γ).
#[must_use]
pub fn selfish_threshold(gamma: f64) -> f64 {
    (1.0 - gamma) / (3.0 - 2.0 * gamma)
}

/// Chain quality: at least this share of the blocks of a long stretch is honest, against an attacker with share `alpha` that wins every
/// race: 1 − α / (1 − α). J. Garay, A. Kiayias and N. Leonardos, "The Bitcoin backbone protocol", 2015, theorem 16, in the limit
/// of short delays (each of the attacker's blocks displaces at most one honest one).
#[must_use]
pub fn chain_quality(alpha: f64) -> f64 {
    (1.0 - alpha / (1.0 - alpha)).max(0.0)
}

/// Standard deviation of how far a chain under ASERT is off its schedule at a steady hash rate, in the unit of the arguments: √(T·τ /
/// (2·ln 2)). Each block adds an exponential time of mean T·2^(−x/τ) less T, so to first order x decays by ln 2 · T/τ of itself and gains
/// variance T²: an Ornstein–Uhlenbeck walk.
#[must_use]
pub fn schedule_deviation(spacing: f64, half_life: f64) -> f64 {
    (spacing * half_life / (2.0 * std::f64::consts::LN_2)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 5e-7_f64.max(b * 5e-4)
    }

    #[test]
    fn the_tables_of_the_papers() {
        // Nakamoto 2008, section 11.
        for (z, p) in [(1, 0.204_587_3), (2, 0.050_977_9), (5, 0.000_913_7), (10, 0.000_001_2)] {
            assert!(near(nakamoto(0.1, z), p), "z = {z}: {}", nakamoto(0.1, z));
        }
        assert!(near(nakamoto(0.3, 10), 0.041_660_5) && near(nakamoto(0.3, 50), 0.000_000_6));
        // Grunspan and Pérez-Marco: P(1) = 2q, P(2) = 2q²(3 − 2q).
        assert!(near(double_spend(0.1, 1), 0.2) && near(double_spend(0.1, 2), 0.056));
        assert!(near(overtake(0.1, 1), 0.01 * (1.0 / 0.9 + 2.0)), "q²·(1/p + 2): none, one, or more found meanwhile");
        for q in [0.05, 0.1, 0.2, 0.3] {
            for z in 3..30 {
                assert!(double_spend(q, z) >= nakamoto(q, z), "Nakamoto's is not lower: q = {q}, z = {z}");
                assert!(double_spend(q, z + 1) < double_spend(q, z) + 1e-12);
            }
        }
    }

    #[test]
    fn confirmations_for_one_in_a_thousand() {
        let at_most = |q| confirmations(q, 0.001);
        assert_eq!((at_most(0.1), at_most(0.2), at_most(0.3)), (Some(6), Some(13), Some(32)));
        assert_eq!(confirmations(0.5, 0.001), None);
    }

    #[test]
    fn selfish_mining_pays_from_its_threshold_on() {
        for gamma in [0.0, 0.5, 0.9] {
            let at = selfish_threshold(gamma);
            assert!(near(selfish_share(at, gamma), at), "γ = {gamma}");
            assert!(selfish_share(at + 0.02, gamma) > at + 0.02 && selfish_share(at - 0.02, gamma) < at - 0.02);
        }
        for alpha in [0.1, 0.2, 0.3, 0.4, 0.45] {
            assert!(1.0 - selfish_share(alpha, 1.0) >= chain_quality(alpha) - 1e-9, "α = {alpha}");
        }
    }
}
