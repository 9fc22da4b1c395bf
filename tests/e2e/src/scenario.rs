//! The scenarios, in the order in which they run.

mod probes;

pub(crate) mod install;

pub(crate) mod traffic;

pub(crate) mod edit;

pub(crate) mod churn;

pub(crate) mod health;

pub(crate) mod absence;

pub(crate) mod leaders;

pub(crate) mod wrong;

pub(crate) mod loss;

pub(crate) mod algorithms;
