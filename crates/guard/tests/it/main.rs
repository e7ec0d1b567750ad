//! What the guard promises, shown on real programs: Node, the shell, and C with raw system calls.

#[cfg(test)]
mod again;
mod controls;
mod conventions;
mod environment;
mod kernel;
mod limits;
mod locks;
mod network;
mod node;
mod outside;
mod processes;
#[cfg(test)]
mod proxy;
mod reads;
#[cfg(test)]
mod setting;
mod tampering;
