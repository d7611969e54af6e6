//! How complex the templates and expressions of a webhook are, from a scan of their text that takes linear time. A
//! program that is too complex is rejected before it is compiled: compiling cannot be cancelled, and the template engine
//! also computes constants then, such as a text times a hundred million. Pure.

use std::{iter::Peekable, ops::Add, str::Chars};

/// Largest complexity of all programs of one webhook together.
pub const WEBHOOK_MAX: Complexity = Complexity { bytes: 128 * 1024, operations: 16 * 1024 };
/// Maximum number of tokens in one `{{ … }}` or `{% … %}` of a template.
const TAG_MAX: usize = 512;
/// Maximum depth of the brackets in one tag.
const NESTING_MAX: usize = 32;

/// The size of one or more programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Complexity {
    pub bytes: usize,
    /// Names, literals, operators and brackets.
    pub operations: usize,
}

impl Add for Complexity {
    type Output = Complexity;

    fn add(self, other: Complexity) -> Complexity {
        Complexity {
            bytes: self.bytes.saturating_add(other.bytes),
            operations: self.operations.saturating_add(other.operations),
        }
    }
}

impl Complexity {
    /// The complexity of a CEL expression.
    #[must_use]
    pub fn of_expression(source: &str) -> Self {
        let mut chars = source.chars().peekable();
        let operations = std::iter::from_fn(|| token(&mut chars)).count();
        Complexity { bytes: source.len(), operations }
    }

    /// The complexity of a template.
    ///
    /// # Errors
    /// The line of a tag that is too complex, and the problem.
    pub fn of_template(source: &str) -> Result<Self, String> {
        let mut operations = 0_usize;
        let mut rest = source;
        while let Some(at) = rest.find('{') {
            let (_, tag) = rest.split_at(at);
            if let Some(comment) = tag.strip_prefix("{#") {
                rest = comment.split_once("#}").map_or("", |(_, rest)| rest);
            } else if let Some(inner) = tag.strip_prefix("{{").or_else(|| tag.strip_prefix("{%")) {
                let line = source.get(..source.len() - tag.len()).map_or(1, |before| before.matches('\n').count() + 1);
                let (used, after) = scan_tag(inner).map_err(|problem| format!("line {line}: {problem}"))?;
                operations = operations.saturating_add(used);
                rest = after;
            } else {
                rest = &tag[1..];
            }
        }
        Ok(Complexity { bytes: source.len(), operations })
    }

    /// Whether this is more than a webhook may have.
    #[must_use]
    pub fn is_too_much(self) -> bool {
        self.bytes > WEBHOOK_MAX.bytes || self.operations > WEBHOOK_MAX.operations
    }
}

/// A token, as far as the complexity depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Word,
    Text,
    Mark(char),
}

/// Scans a tag to its end. Returns the number of its tokens and the text after it.
fn scan_tag(inner: &str) -> Result<(usize, &str), String> {
    let mut chars = inner.chars().peekable();
    let (mut tokens, mut times, mut repeatable, mut before) = (0, false, false, None);
    // The open brackets, and whether each is one of an expression, not of a call or an index.
    let mut open: Vec<bool> = Vec::new();
    while let Some(token) = token(&mut chars) {
        if open.is_empty() && matches!(token, Token::Mark('%' | '}')) && chars.next_if_eq(&'}').is_some() {
            break;
        }
        tokens += 1;
        let is_value = matches!(before, Some(Token::Word | Token::Text | Token::Mark(')' | ']')));
        match token {
            Token::Mark(bracket @ ('[' | '(' | '{')) => {
                repeatable |= bracket == '[' && !is_value;
                open.push(bracket == '(' && !is_value);
            }
            Token::Mark(']' | ')' | '}') => drop(open.pop()),
            Token::Mark('*') => times = true,
            Token::Mark('~') | Token::Text => repeatable = true,
            Token::Mark(',') => repeatable |= open.last() == Some(&true),
            Token::Mark(_) | Token::Word => {}
        }
        before = Some(token);
        if tokens > TAG_MAX {
            return Err(format!("a tag has more than {TAG_MAX} names, values and operators: split it"));
        }
        if open.len() > NESTING_MAX {
            return Err(format!("a tag is nested more than {NESTING_MAX} levels deep: split it"));
        }
        if times && repeatable {
            return Err("a tag multiplies and has a text or a list in it: split it, or write the result".to_owned());
        }
    }
    let left = chars.map(char::len_utf8).sum::<usize>();
    Ok((tokens, inner.get(inner.len() - left..).unwrap_or_default()))
}

/// Takes the next token. A text that does not end takes the rest; the engine then rejects it.
fn token(chars: &mut Peekable<Chars<'_>>) -> Option<Token> {
    while chars.next_if(|char| char.is_whitespace()).is_some() {}
    let first = chars.next()?;
    if matches!(first, '"' | '\'') {
        while let Some(char) = chars.next().filter(|char| *char != first) {
            if char == '\\' {
                chars.next();
            }
        }
        return Some(Token::Text);
    }
    if !is_word(first) {
        return Some(Token::Mark(first));
    }
    while chars.next_if(|char| is_word(*char)).is_some() {}
    Some(Token::Word)
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokens_of_tags_are_counted() {
        let long = format!("{{{{ {} }}}}", ["\"a\""; 4000].join("~"));
        for (template, operations) in [
            ("", Ok(0)),
            ("a { b } * [c]", Ok(0)),
            ("{{ event.data.title }}", Ok(5)),
            ("{# {{ a }} #}{{ 'it\\'s }}' }}x{% if event -%}", Ok(4)),
            ("{{ {'a': {'b': 1}}}} {{ 2 * event.n }}", Ok(14)),
            ("{{ (event.tags[0] + f(1, 2)) * 2 % 3 }}", Ok(19)),
            ("{{ event", Ok(1)),
            (&long, Err("line 1: a tag has more than 512")),
            (&format!("\n{{{{ {} }}}}", "[".repeat(33)), Err("line 2: a tag is nested more than 32")),
            ("{{ \"a\" * 100000000 }}", Err("line 1: a tag multiplies and has a text")),
            ("{{ 100000000 * 'a' }}", Err("line 1: a tag multiplies and has a text")),
            ("{{ [1] * 100000000 }}", Err("line 1: a tag multiplies and has a text")),
            ("{{ (1, 2) * 100000000 }}", Err("line 1: a tag multiplies and has a text")),
            ("{{ (1 ~ 2) * 100000000 }}", Err("line 1: a tag multiplies and has a text")),
        ] {
            let found = Complexity::of_template(template).map(|complexity| complexity.operations);
            match (found, operations) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{template}"),
                (Err(problem), Err(expected)) => assert!(problem.starts_with(expected), "{template}: {problem}"),
                (found, expected) => panic!("{template}: {found:?} instead of {expected:?}"),
            }
        }
        assert_eq!(Complexity::of_expression("event.a == 'b c'"), Complexity { bytes: 16, operations: 6 });
    }

    #[test]
    fn a_webhook_has_a_limit_of_bytes_and_of_operations() {
        let one = Complexity { bytes: 16 * 1024, operations: 2048 };
        let eight = (0..8).fold(Complexity::default(), |sum, _| sum + one);
        assert!(!eight.is_too_much());
        assert!((eight + Complexity { bytes: 1, operations: 0 }).is_too_much());
        assert!((eight + Complexity { bytes: 0, operations: 1 }).is_too_much());
    }
}
