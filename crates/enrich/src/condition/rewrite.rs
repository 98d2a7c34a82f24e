//! From a text to an expression in which every path is a variable, with everything refused that could not be meant.
//!
//! ```text
//! event.user != null && enriched.user.plan in ["pro"]   ->   $0 != null && $1 in ["pro"]
//! event["/properties/price"] > 100                      ->   $0 > 100
//! has(event.user)                                       ->   $0 != null
//! ```

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::{ParseErrors, PrattParser};

use super::{ConditionError, PATHS_MAX, TEXT_MAX};
use crate::path::{Base, Path, example};

/// Levels of an expression within each other, at most. The evaluation keeps its place on the thread's stack.
const DEPTH_MAX: usize = 32;

/// Functions of CEL that there are, beside operators. Those of dates need a library that is banned here, and `matches`
/// would compile its pattern again for every event.
const FUNCTIONS: [&str; 11] =
    ["size", "contains", "startsWith", "endsWith", "int", "uint", "double", "string", "bool", "type", "dyn"];
/// Names of types, for `type(event.user) == string`.
const TYPES: [&str; 8] = ["bool", "int", "uint", "double", "string", "list", "map", "null_type"];
/// Operators that give neither true nor false.
const ARITHMETIC: [&str; 6] = [
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::NEGATE,
];

pub(super) fn compile(text: &str) -> Result<(IdedExpr, Vec<Path>), ConditionError> {
    if text.len() > TEXT_MAX {
        return Err(ConditionError {
            message: format!("a condition has at most {TEXT_MAX} bytes; this one has {}", text.len()),
            position: 0,
        });
    }
    let parser = PrattParser::new().max_recursion_depth(DEPTH_MAX as u16);
    let parsed = parser.parse(text).map_err(|errors| syntax(text, &errors))?;
    let mut rewriting = Rewriting { text, paths: Vec::new(), variables: Vec::new() };
    let mut expression = parsed;
    rewriting.expression(&mut expression, 0)?;
    if let Some(what) = never_decides(&expression.expr) {
        return Err(ConditionError {
            message: format!("this gives {what}; a condition is true or false"),
            position: 0,
        });
    }
    Ok((expression, rewriting.paths))
}

/// The variable of the path at a place.
fn variable(place: usize) -> String {
    format!("${place}")
}

/// The place of the path that a variable stands for.
pub(super) fn place_of(variable: &str) -> Option<usize> {
    match variable.as_bytes() {
        [b'$', one @ b'0'..=b'9'] => Some(usize::from(one - b'0')),
        [b'$', ten @ b'1'..=b'9', one @ b'0'..=b'9'] => Some(usize::from(ten - b'0') * 10 + usize::from(one - b'0')),
        _ => None,
    }
}

struct Rewriting<'t> {
    text: &'t str,
    paths: Vec<Path>,
    /// Of the comprehension that is being rewritten: the user's, and the library's own.
    variables: Vec<String>,
}

impl Rewriting<'_> {
    fn expression(&mut self, at: &mut IdedExpr, depth: usize) -> Result<(), ConditionError> {
        if depth == DEPTH_MAX {
            return Err(
                self.refuse(format!("more than {DEPTH_MAX} levels within each other: make two lookups of it"), "")
            );
        }
        if let Some((path, test)) = self.path(&at.expr)? {
            let variable = Expr::Ident(variable(self.place(path)?));
            at.expr = if test { is_there(at.id, variable) } else { variable };
            return Ok(());
        }
        let depth = depth + 1;
        match &mut at.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => Err(self.refuse("there are no bytes in JSON to compare with", "")),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.ident(&name.clone()),
            Expr::Select(select) => self.expression(&mut select.operand, depth),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|e| self.expression(e, depth)),
            Expr::Call(call) => self.call(call, depth),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension, depth),
            Expr::Map(_) => Err(self.refuse("objects are not compared as a whole: compare their members", "{")),
            Expr::Struct(_) | Expr::Unspecified => Err(self.refuse("this is no condition", "")),
        }
    }

    fn call(&mut self, call: &mut CallExpr, depth: usize) -> Result<(), ConditionError> {
        let name = call.func_name.as_str();
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&name) {
            let message = match name {
                "matches" => "there is no `matches`: use startsWith, endsWith or contains".to_owned(),
                "map" | "filter" | "all" | "exists" | "exists_one" => {
                    format!(
                        "`{name}` takes a list, a name and a condition, like event.tags.exists(tag, tag == \"new\")"
                    )
                }
                "has" => "`has` takes one path, like has(event.user)".to_owned(),
                _ => format!("there is no function `{name}`; there are {}", FUNCTIONS.join(", ")),
            };
            return Err(self.refuse(message, name));
        }
        if let Some(target) = &mut call.target {
            self.expression(target, depth)?;
        }
        call.args.iter_mut().try_for_each(|argument| self.expression(argument, depth))
    }

    fn comprehension(&mut self, c: &mut ComprehensionExpr, depth: usize) -> Result<(), ConditionError> {
        if !self.variables.is_empty() {
            let message = "one list is gone through for each element of another: that could take any time";
            return Err(self.refuse(message, &c.iter_var));
        }
        if ["event", "enriched"].contains(&c.iter_var.as_str()) {
            return Err(self.refuse(format!("`{}` is taken: give the element another name", c.iter_var), &c.iter_var));
        }
        self.expression(&mut c.iter_range, depth)?;
        self.variables = vec![c.iter_var.clone(), c.accu_var.clone()];
        self.variables.extend(c.iter_var2.clone());
        for part in [&mut c.accu_init, &mut c.loop_cond, &mut c.loop_step, &mut c.result] {
            self.expression(part, depth)?;
        }
        self.variables.clear();
        Ok(())
    }

    /// A name on its own that is no path.
    fn ident(&self, name: &str) -> Result<(), ConditionError> {
        if self.variables.iter().any(|v| v == name) || TYPES.contains(&name) {
            return Ok(());
        }
        let message = match name {
            "event" | "enriched" => format!("name what of `{name}`, like {}", example(name)),
            _ => format!(
                "`{name}` is neither of `event` nor of `enriched`: write event.{name}, or \"{name}\" for a text"
            ),
        };
        Err(self.refuse(message, name))
    }

    /// The path that an expression is, and whether it is only asked to be there.
    fn path(&self, expr: &Expr) -> Result<Option<(Path, bool)>, ConditionError> {
        let mut names = Vec::new();
        let mut at = expr;
        let mut test = false;
        let root = loop {
            match at {
                Expr::Select(select) => {
                    test |= select.test;
                    names.push(select.field.as_str());
                    at = &select.operand.expr;
                }
                Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => {
                    let [of, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] = &args[..] else {
                        return Ok(None);
                    };
                    names.push(name.inner());
                    at = &of.expr;
                }
                Expr::Ident(root) if root == "event" || root == "enriched" => break root.as_str(),
                _ => return Ok(None),
            }
        };
        let mut names = names.into_iter().rev().map(str::to_owned);
        let Some(first) = names.next() else { return Ok(None) };
        let parsed = match root {
            "enriched" => Path { base: Base::Member(first.clone()), rest: names.collect() }.checked(),
            _ if first.starts_with('/') => Path::parse(&first).map(|path| Path { rest: names.collect(), ..path }),
            _ => Path { base: Base::Field(first.clone()), rest: names.collect() }.checked(),
        };
        parsed.map(|path| Some((path, test))).map_err(|message| self.refuse(message, &first))
    }

    fn place(&mut self, path: Path) -> Result<usize, ConditionError> {
        if let Some(place) = self.paths.iter().position(|p| *p == path) {
            return Ok(place);
        }
        if self.paths.len() == PATHS_MAX {
            return Err(self.refuse(format!("a condition reads at most {PATHS_MAX} different paths"), ""));
        }
        self.paths.push(path);
        Ok(self.paths.len() - 1)
    }

    /// An error at the first `word` of the text that is not in quotes; the expression does not say where it stood.
    fn refuse(&self, message: impl Into<String>, word: &str) -> ConditionError {
        ConditionError { message: message.into(), position: find_word(self.text, word) }
    }
}

/// `variable != null`.
fn is_there(id: u64, variable: Expr) -> Expr {
    let null = IdedExpr { id, expr: Expr::Literal(LiteralValue::Null) };
    let args = vec![IdedExpr { id, expr: variable }, null];
    Expr::Call(CallExpr { func_name: operators::NOT_EQUALS.to_owned(), target: None, args })
}

/// What an expression gives that surely is neither true nor false.
fn never_decides(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Literal(LiteralValue::Boolean(_)) => None,
        Expr::Literal(LiteralValue::String(_)) => Some("a text"),
        Expr::Literal(LiteralValue::Null) => Some("null"),
        Expr::Literal(_) => Some("a number"),
        Expr::List(_) => Some("a list"),
        Expr::Call(call) if ARITHMETIC.contains(&call.func_name.as_str()) => Some("a number or a text"),
        Expr::Call(call) => match call.func_name.as_str() {
            "size" | "int" | "uint" | "double" => Some("a number"),
            "string" => Some("a text"),
            "type" => Some("a type"),
            _ => None,
        },
        _ => None,
    }
}

/// Where a word stands outside quotes; 0 if it does not.
fn find_word(text: &str, word: &str) -> usize {
    if word.is_empty() {
        return 0;
    }
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {
                let alone = !is_word(text[..at].chars().next_back())
                    && !is_word(text[at..].strip_prefix(word).and_then(|r| r.chars().next()));
                if text[at..].starts_with(word) && alone {
                    return at;
                }
            }
        }
    }
    // A name may stand in quotes, too: event["user"].
    text.find(word).unwrap_or(0)
}

/// The parser's first complaint, in our words.
fn syntax(text: &str, errors: &ParseErrors) -> ConditionError {
    let Some(first) = errors.errors.first() else {
        return ConditionError { message: "this is no condition".to_owned(), position: 0 };
    };
    let (line, column) = first.pos;
    let start: usize = text.split_inclusive('\n').take(line.max(1) as usize - 1).map(str::len).sum();
    let mut position = (start + column.max(1) as usize - 1).min(text.len());
    while !text.is_char_boundary(position) {
        position -= 1;
    }
    let said = first.msg.trim_start_matches("Syntax error: ");
    let unexpected = said.strip_prefix("mismatched input '").and_then(|s| s.split_once("' expecting "));
    let message = match (said, unexpected) {
        _ if text.trim().is_empty() => {
            "the condition is empty: leave `when` out, or write one like event.user != null".into()
        }
        (_, Some(("<EOF>", _))) => "the condition ends too early".to_owned(),
        (_, Some(("=", _))) => "`=` compares nothing: write `==`".to_owned(),
        (_, Some((input, "<EOF>"))) => {
            format!("`{input}` does not go on from what stands before it: is an operator missing, like && or ==?")
        }
        (_, Some((input, wanted))) => format!("`{input}` stands where CEL has {wanted}"),
        ("expected identifier after '.'", _) if position < text.len() => {
            "this is no name, or one that CEL has a use for: write it as event[\"name\"]".to_owned()
        }
        ("expected identifier after '.'", _) => "a name is missing after the dot".to_owned(),
        ("invalid argument to has() macro", _) => "`has` takes one path, like has(event.user)".to_owned(),
        (said, None) if said.starts_with("expression recursion limit") => {
            format!("more than {DEPTH_MAX} levels within each other: make two lookups of it")
        }
        (said, None) => said.to_owned(),
    };
    ConditionError { message, position }
}
