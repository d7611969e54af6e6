//! Prints a scenario to standard output: a heading per step, commands with their output, and durations. Colours only on
//! a terminal, and not with NO_COLOR.

use std::{env, io::IsTerminal, time::Duration};

use anyhow::Result;

use crate::call::Call;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Lines shown of one command's output; the others are counted.
const LINES_MAX: usize = 40;

/// A printer to standard output.
#[derive(Clone, Copy, Debug)]
pub struct Transcript {
    colours: bool,
}

impl Transcript {
    /// Chooses colours by the terminal and NO_COLOR.
    pub fn new() -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Transcript { colours: wanted && std::io::stdout().is_terminal() }
    }

    /// Prints the heading of a step.
    pub fn heading(self, number: usize, of: usize, name: &str) {
        println!("\n{}", self.painted(BOLD, &format!("── {number}/{of}  {name}")));
    }

    /// Prints a sentence about the evidence.
    pub fn note(self, text: &str) {
        println!("   {text}");
    }

    /// Runs the command, prints it with its output, and returns the output.
    ///
    /// # Errors
    /// As [`Call::screen`].
    pub fn show(self, call: &Call) -> Result<String> {
        self.command(call);
        let output = call.screen()?;
        self.lines(output.lines());
        Ok(output)
    }

    /// As [`Transcript::show`] for a command that must be rejected; returns the rejection.
    ///
    /// # Errors
    /// As [`Call::rejection`].
    pub fn show_rejection(self, call: &Call) -> Result<String> {
        self.command(call);
        let rejection = call.rejection()?;
        self.lines(rejection.lines());
        Ok(rejection)
    }

    /// Prints lines of evidence from another source.
    pub fn lines<'a>(self, lines: impl IntoIterator<Item = &'a str>) {
        let mut more = 0;
        for (number, line) in lines.into_iter().enumerate() {
            if number < LINES_MAX { println!("     {line}") } else { more += 1 }
        }
        if more > 0 {
            println!("     … {more} more lines");
        }
    }

    /// Prints that a step succeeded.
    pub fn succeeded(self, took: Duration, what: &str) {
        println!("   {} {what}", self.painted(GREEN, &format!("✓ {:.1} s", took.as_secs_f32())));
    }

    /// Prints an error.
    pub fn failed(self, error: &anyhow::Error) {
        println!("\n{}", self.painted(RED, &format!("✗ {error:#}")));
    }

    fn command(self, call: &Call) {
        println!("   {}", self.painted(CYAN, &format!("$ {call}")));
    }

    /// Prints the heading of a section in a state dump.
    pub fn section(self, title: &str) {
        println!("\n{}", self.painted(DIM, &format!("·· {title}")));
    }

    fn painted(self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
