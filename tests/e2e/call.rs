//! kubectl and helm from the PATH, called as a person would call them: what is printed as evidence can be typed again.
//! Nothing here knows what is asked.

use std::{
    fmt,
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The repository, where the chart and the examples are found by the paths that are printed.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One call of a program.
#[derive(Clone, Debug)]
pub struct Call {
    program: &'static str,
    words: Vec<String>,
    input: Option<String>,
}

/// `kubectl` with these words, which are separated by white space only: a word with a space in it is added by
/// [`Call::and`].
pub fn kubectl(words: &str) -> Call {
    Call::new("kubectl", words)
}

/// As [`kubectl`].
pub fn helm(words: &str) -> Call {
    Call::new("helm", words)
}

impl Call {
    fn new(program: &'static str, words: &str) -> Self {
        Call { program, words: words.split_whitespace().map(str::to_owned).collect(), input: None }
    }

    /// One word more, as it is.
    pub fn and(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// What is written to its standard input.
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// The command, to be started by someone who wants its output while it runs.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.words).current_dir(ROOT);
        command
    }

    /// What it printed to standard output.
    ///
    /// # Errors
    /// When it cannot be run, or says that it failed; then with what it printed to standard error.
    pub fn output(&self) -> Result<String> {
        let output = self.run()?;
        if !output.status.success() {
            bail!("`{self}` failed ({}): {}", output.status, text(&output.stderr).trim());
        }
        Ok(text(&output.stdout))
    }

    /// All it printed, as a person sees it.
    ///
    /// # Errors
    /// As [`Call::output`].
    pub fn screen(&self) -> Result<String> {
        let output = self.run()?;
        let screen = text(&output.stdout) + &text(&output.stderr);
        if output.status.success() {
            Ok(screen)
        } else {
            bail!("`{self}` failed ({}): {}", output.status, screen.trim())
        }
    }

    /// What it printed to standard error while failing.
    ///
    /// # Errors
    /// When it did not fail.
    pub fn refusal(&self) -> Result<String> {
        let output = self.run()?;
        if output.status.success() {
            bail!("`{self}` should have been refused, and was not: {}", text(&output.stdout).trim());
        }
        Ok(text(&output.stderr))
    }

    /// Its output, with `--output=json` added to its words.
    ///
    /// # Errors
    /// As [`Call::output`], and when that is no JSON.
    pub fn json(self) -> Result<Value> {
        let call = self.and("--output=json");
        serde_json::from_str(&call.output()?).with_context(|| format!("`{call}` printed no JSON"))
    }

    /// Whatever it printed, for looking at and not for deciding by.
    pub fn anything(&self) -> String {
        match self.run() {
            Ok(output) => text(&output.stdout) + &text(&output.stderr),
            Err(error) => format!("{error:#}\n"),
        }
    }

    fn run(&self) -> Result<Output> {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut command = self.command();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{} cannot be run", self.program))?;
        if let (Some(input), Some(mut stdin)) = (&self.input, child.stdin.take()) {
            stdin.write_all(input.as_bytes()).with_context(|| format!("`{self}` does not read its input"))?;
        }
        child.wait_with_output().with_context(|| format!("`{self}` was lost"))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        for word in &self.words {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
            if word.chars().all(plain) { write!(f, " {word}")? } else { write!(f, " '{word}'")? }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
