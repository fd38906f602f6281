//! Deliberate bugs, to show that the simulator would find them. Only with the feature `mutations`; without it
//! each asks a constant `false` and compiles to nothing.

macro_rules! mutations {
    ($($(#[doc = $about:literal])+ $name:ident,)+) => {
        /// A deliberate bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutation {
            $($(#[doc = $about])+ $name,)+
        }

        impl Mutation {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What is wrong, in a sentence.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($about),+).trim_ascii(),)+
                }
            }
        }
    };
}

mutations! {
    /// No lock after prepare.
    NoLock,
    /// The lock is released on any round change.
    LockReleased,
    /// A quorum is 2f + 1 even where that is too few (n = 5).
    QuorumTwoFPlusOne,
    /// The sign record is written after the vote.
    RecordAfterVote,
    /// The sign record is not restored at start.
    RecordNotRestored,
    /// The signatures of commit certificates are not checked.
    CertificateSignaturesUnchecked,
    /// A commit certificate of another height is accepted.
    CertificateOfOtherHeight,
    /// Validators jump to a round that f ask for, not f + 1.
    JumpAtF,
    /// The justification of a proposal above round 0 is not checked.
    JustificationUnchecked,
    /// A new block is proposed where the certified one is due.
    FreshReproposal,
    /// The skip list comes from what a validator has seen itself, not from the headers.
    SkipListLocal,
    /// The validator set of a height is used one height early.
    SetChangeEarly,
    /// Two votes of one validator count twice.
    DuplicatesCounted,
    /// A wiped validator votes at once.
    WipedVotes,
    /// Sync believes a height that a peer merely claims, and waits for it.
    SyncTrustsClaim,
    /// Round timers run on the wall clock.
    WallTimer,
    /// After a restart, round 0 is taken for untouched.
    RoundZeroReused,
    /// The power behind a certificate that a peer shows is not counted.
    CertificateUnchecked,
    /// A recovered validator votes in any round.
    RecoveredUnguarded,
}

impl Mutation {
    /// The bug of this name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|m| format!("{m:?}") == name)
    }

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
