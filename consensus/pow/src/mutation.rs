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
    /// A seal is not checked against its target.
    SealUnchecked,
    /// A header's target is not compared with the one that is due.
    TargetUnchecked,
    /// A timestamp may lie before the median of the eleven before it.
    MedianUnchecked,
    /// A timestamp may lie any time ahead of the clock.
    DriftUnchecked,
    /// The chain with most blocks wins, not the one with most work.
    LongestChain,
    /// Of two chains with equal work the later one wins.
    LastSeen,
    /// The head moves to a block that has not been judged.
    UnjudgedHead,
    /// What descends from an invalid block is still followed.
    InvalidFollowed,
    /// Blocks are final by their depth alone, whatever work lies on them.
    FinalityByBlocks,
    /// A branch below the finality depth is adopted.
    FinalityIgnored,
    /// A branch below the finality depth raises no alarm.
    AlarmForgotten,
    /// The operator's checkpoint changes nothing.
    CheckpointIgnored,
    /// The announcement of a reorg leaves out its oldest abandoned block.
    AbandonedForgotten,
    /// Any number of orphans is kept.
    OrphansUnbounded,
    /// Difficulty hangs on the parent, not on the anchor, and rounds anew at every block.
    RelativeTarget,
    /// The exponent of the difficulty is rounded down where it must be cut off.
    FloorDivision,
    /// A block is announced before it is written.
    AnnouncedUnwritten,
    /// Blocks that were written are not taken up at a restart.
    RecordsForgotten,
    /// Timers run on the wall clock.
    WallTimer,
    /// A block that nobody gave at once is never asked for again.
    FetchedOnce,
    /// A new head is announced once; what got lost is not said again.
    AnnouncedOnce,
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
