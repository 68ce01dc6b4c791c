//! Rust source without what only looks like code.

/// The text with comments and the insides of string and character literals replaced by spaces;
/// lines and columns stay where they are.
pub(crate) fn blank_comments_and_strings(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let in_identifier = rest.starts_with(char::is_alphabetic) && ends_in_identifier(&out);
        let literal = literal_len(rest).filter(|_| !in_identifier);
        if let Some(len) = comment_len(rest) {
            blank(&mut out, &rest[..len]);
            rest = &rest[len..];
        } else if let Some((open, len)) = literal {
            out.push_str(&rest[..open]);
            blank(&mut out, &rest[open..len]);
            rest = &rest[len..];
        } else {
            let c = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..c]);
            rest = &rest[c..];
        }
    }
    out
}

fn blank(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
}

fn ends_in_identifier(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// Bytes of the comment that the text begins with.
fn comment_len(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    let mut depth = 0;
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if depth == 0 {
            return None;
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
        if at >= text.len() {
            return Some(text.len());
        }
    }
}

/// Bytes up to the inside, and in all, of the string or character literal that the text begins
/// with.
fn literal_len(text: &str) -> Option<(usize, usize)> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|p| text.starts_with(p));
    let after = &text[prefix.map_or(0, str::len)..];
    let before = text.len() - after.len();
    let raw = prefix.is_some_and(|p| p.ends_with('r'));
    if raw {
        let hashes = after.len() - after.trim_start_matches('#').len();
        after[hashes..].strip_prefix('"')?;
        let open = before + hashes + 1;
        let close = format!("\"{}", "#".repeat(hashes));
        let len = text[open..].find(&close).map_or(text.len(), |n| open + n + close.len());
        return Some((open, len));
    }
    let quote = after.chars().next().filter(|&c| c == '"' || c == '\'')?;
    let open = before + 1;
    let mut chars = text[open..].char_indices();
    let (mut seen, mut escaped) = (0, false);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                escaped = true;
                chars.next();
            }
            _ if c == quote => return Some((open, open + at + 1)),
            // A lifetime: no quote follows the first character.
            _ if quote == '\'' && seen == 1 && !escaped => return None,
            _ => {}
        }
        seen += 1;
    }
    (quote == '"').then_some((open, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn blanks_to(text: &str, want: &str) {
        assert_eq!(blank_comments_and_strings(text), want);
    }

    #[test]
    fn comments_go_and_lines_stay() {
        blanks_to("a // b\nc", "a     \nc");
        blanks_to("a /* b /* c */\n d */ e", "a             \n      e");
        blanks_to("a / b", "a / b");
    }

    #[test]
    fn insides_of_literals_go() {
        blanks_to(r#"f("a\"b", 'c')"#, r#"f("     , '  )"#);
        blanks_to(r##"r#"a"b"# + c"##, r##"r#"      + c"##);
        blanks_to("b\"x\" b'y' '\\u{1}'", "b\"   b'   '      ");
    }

    #[test]
    fn lifetimes_and_identifiers_stay() {
        blanks_to("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)");
        blanks_to("bar\"x\"", "bar\"  ");
        blanks_to("'outer: loop {}", "'outer: loop {}");
    }
}
