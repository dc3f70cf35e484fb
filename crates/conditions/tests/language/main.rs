//! What conditions mean, and what they refuse.

mod against_cel;
mod certification;
mod corpus;
mod hostile;
mod question;
mod refused;
