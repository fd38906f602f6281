//! Deliberate bugs, to show that the simulator would find them. Only with the feature `mutations`; without it
//! each asks a constant `false` and compiles to nothing.

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mutation {
    /// A commit vote leaves no lock.
    NoLock = 1,
    /// A round change forgets the lock.
    LockReleased,
    /// A quorum is 2f + 1 even where that is too few.
    QuorumTwoFPlusOne,
    /// The sign record is written after the vote.
    RecordAfterVote,
    /// The sign record is not read at start.
    RecordNotRestored,
    /// After a restart, round 0 is taken for untouched.
    RoundZeroReused,
    /// f validators make one jump, not f + 1.
    JumpAtF,
    /// Round-change justifications are not checked.
    JustificationUnchecked,
    /// A new block is proposed where the prepared one is due.
    FreshReproposal,
    /// A validator that votes twice counts twice.
    DuplicatesCounted,
    /// A wiped validator votes at once.
    WipedVotes,
    /// A certificate shown by a peer is taken at its word.
    CertificateUnchecked,
    /// A recovered validator votes in any round.
    RecoveredUnguarded,
    /// Round timers run on the wall clock.
    WallTimer,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::NoLock,
        Self::LockReleased,
        Self::QuorumTwoFPlusOne,
        Self::RecordAfterVote,
        Self::RecordNotRestored,
        Self::RoundZeroReused,
        Self::JumpAtF,
        Self::JustificationUnchecked,
        Self::FreshReproposal,
        Self::DuplicatesCounted,
        Self::WipedVotes,
        Self::CertificateUnchecked,
        Self::RecoveredUnguarded,
        Self::WallTimer,
    ];

    /// Whether this bug is switched on.
    #[cfg(not(feature = "mutations"))]
    pub(crate) const fn on(self) -> bool {
        false
    }

    /// Whether this bug is switched on.
    #[cfg(feature = "mutations")]
    pub(crate) fn on(self) -> bool {
        SWITCH.with(std::cell::Cell::get) == Some(self)
    }

    /// Runs something with this bug on, in this thread.
    #[cfg(feature = "mutations")]
    pub fn with<T>(self, run: impl FnOnce() -> T) -> T {
        SWITCH.with(|s| s.set(Some(self)));
        let result = run();
        SWITCH.with(|s| s.set(None));
        result
    }
}

#[cfg(feature = "mutations")]
thread_local! {
    static SWITCH: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}
