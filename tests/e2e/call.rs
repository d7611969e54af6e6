//! Calls of kubectl and helm from the PATH. A printed command can be typed again.

use std::{
    fmt,
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The repository's root, which printed paths are relative to.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One call of a program.
#[derive(Clone, Debug)]
pub struct Call {
    program: &'static str,
    words: Vec<String>,
    input: Option<String>,
}

/// `kubectl` with these words, split at white space. Add a word that contains a space with [`Call::and`].
pub fn kubectl(words: &str) -> Call {
    Call::new("kubectl", words)
}

/// `helm` with these words, as [`kubectl`].
pub fn helm(words: &str) -> Call {
    Call::new("helm", words)
}

impl Call {
    fn new(program: &'static str, words: &str) -> Self {
        Call { program, words: words.split_whitespace().map(str::to_owned).collect(), input: None }
    }

    /// Adds one word, unsplit.
    pub fn and(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Sets the text for standard input.
    pub fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// The command itself, for a caller that reads its output while it runs.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.words).current_dir(ROOT);
        command
    }

    /// Runs the command and returns its standard output.
    ///
    /// # Errors
    /// If it cannot be run, or fails; the error contains its standard error.
    pub fn output(&self) -> Result<String> {
        let output = self.run()?;
        if !output.status.success() {
            bail!("`{self}` failed ({}): {}", output.status, text(&output.stderr).trim());
        }
        Ok(text(&output.stdout))
    }

    /// Runs the command and returns its standard output and standard error, as on a terminal.
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

    /// Runs a command that must fail and returns its standard error.
    ///
    /// # Errors
    /// If it succeeds.
    pub fn rejection(&self) -> Result<String> {
        let output = self.run()?;
        if output.status.success() {
            bail!("`{self}` succeeded, but must be rejected: {}", text(&output.stdout).trim());
        }
        Ok(text(&output.stderr))
    }

    /// Runs the command with `--output=json` and parses the output.
    ///
    /// # Errors
    /// As [`Call::output`], and if the output is not JSON.
    pub fn json(self) -> Result<Value> {
        let call = self.and("--output=json");
        serde_json::from_str(&call.output()?).with_context(|| format!("the output of `{call}` is not JSON"))
    }

    /// Runs the command and returns its output or its error, for display only.
    pub fn output_or_error(&self) -> String {
        match self.run() {
            Ok(output) => text(&output.stdout) + &text(&output.stderr),
            Err(error) => format!("{error:#}\n"),
        }
    }

    fn run(&self) -> Result<Output> {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut command = self.command();
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", self.program))?;
        if let (Some(input), Some(mut stdin)) = (&self.input, child.stdin.take()) {
            stdin
                .write_all(input.as_bytes())
                .with_context(|| format!("cannot write to the standard input of `{self}`"))?;
        }
        child.wait_with_output().with_context(|| format!("cannot wait for `{self}`"))
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
