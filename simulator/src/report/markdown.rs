//! Tables in Markdown, between marks in a page: what is measured is written down by the program that measured it.

/// A table.
#[must_use]
pub fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, cells) in rows.iter().enumerate() {
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if index == 0 {
            text.push_str(&format!("|{}\n", "---|".repeat(cells.len())));
        }
    }
    text
}

/// The page with `text` between `<!-- simulated NAME -->` and the next `<!-- end -->`; `None` if it has no such marks.
#[must_use]
pub fn replaced(page: &str, name: &str, text: &str) -> Option<String> {
    let mark = format!("<!-- simulated {name} -->\n");
    let from = page.find(&mark)? + mark.len();
    let to = from + page[from..].find("<!-- end -->")?;
    Some(format!("{}{text}{}", &page[..from], &page[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expect: Option<&str>) {
        assert_eq!(replaced(page, "1-a", "new\n").as_deref(), expect);
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let before = "a\n<!-- simulated 1-a -->\nold\n<!-- end -->\nb<!-- end -->";
        check(before, Some("a\n<!-- simulated 1-a -->\nnew\n<!-- end -->\nb<!-- end -->"));
        check("<!-- simulated 1-b -->\n<!-- end -->", None);
        check("<!-- simulated 1-a -->\n", None);
    }

    #[test]
    fn tables_have_a_line_below_their_headings() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["1".to_owned(), "2".to_owned()]];
        assert_eq!(markdown(&rows), "| a | b |\n|---|---|\n| 1 | 2 |\n");
    }
}
