//! Tells the story on a terminal: a heading for each step, the commands and what they printed, the time it took.
//! Colours only on a terminal, and not with NO_COLOR.

use std::{env, io::IsTerminal, time::Duration};

use anyhow::Result;

use crate::call::Call;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Lines of one command's output that are shown; the rest is counted.
const LINES_MAX: usize = 40;

#[derive(Clone, Copy, Debug)]
pub struct Narrator {
    colours: bool,
}

impl Narrator {
    /// One that speaks to standard output.
    pub fn new() -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Narrator { colours: wanted && std::io::stdout().is_terminal() }
    }

    /// A step begins.
    pub fn heading(self, number: usize, of: usize, name: &str) {
        println!("\n{}", self.painted(BOLD, &format!("── {number}/{of}  {name}")));
    }

    /// A sentence on what is seen.
    pub fn say(self, text: &str) {
        println!("   {text}");
    }

    /// Runs the command, shows it with what it printed, and returns that.
    ///
    /// # Errors
    /// As [`Call::screen`].
    pub fn show(self, call: &Call) -> Result<String> {
        self.command(call);
        let output = call.screen()?;
        self.lines(output.lines());
        Ok(output)
    }

    /// As [`Narrator::show`] for a command that must be refused; returns the refusal.
    ///
    /// # Errors
    /// As [`Call::refusal`].
    pub fn show_refusal(self, call: &Call) -> Result<String> {
        self.command(call);
        let refusal = call.refusal()?;
        self.lines(refusal.lines());
        Ok(refusal)
    }

    /// Lines of evidence that came from elsewhere.
    pub fn lines<'a>(self, lines: impl IntoIterator<Item = &'a str>) {
        let mut more = 0;
        for (number, line) in lines.into_iter().enumerate() {
            if number < LINES_MAX { println!("     {line}") } else { more += 1 }
        }
        if more > 0 {
            println!("     … and {more} lines more");
        }
    }

    /// A step ended well.
    pub fn done(self, took: Duration, what: &str) {
        println!("   {} {what}", self.painted(GREEN, &format!("✓ {:.1} s", took.as_secs_f32())));
    }

    /// It did not go as it should.
    pub fn failed(self, why: &anyhow::Error) {
        println!("\n{}", self.painted(RED, &format!("✗ {why:#}")));
    }

    fn command(self, call: &Call) {
        println!("   {}", self.painted(CYAN, &format!("$ {call}")));
    }

    /// A heading inside a dump of state.
    pub fn section(self, title: &str) {
        println!("\n{}", self.painted(DIM, &format!("·· {title}")));
    }

    fn painted(self, colour: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
