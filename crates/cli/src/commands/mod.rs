//! One file per subcommand.

pub(crate) mod bench;
pub(crate) mod classify;
pub(crate) mod compare;
pub(crate) mod convert;
pub(crate) mod detect;
pub(crate) mod evaluate;
pub(crate) mod finetune;
pub(crate) mod inspect;
pub(crate) mod landmarks;
pub(crate) mod quantize;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod segment;
