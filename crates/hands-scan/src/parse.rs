//! From the content of a file to its directives: each file once, whoever includes it.

use crate::cursor::{Cursor, Raw};
use crate::directive::{Directive, How, Macro, Parsed, SEVERAL_LINES, Test};
use crate::link;
use crate::name::{Interner, Sym, known};
use crate::pragma;
use crate::reason::Reason;
use crate::splice::{splice, to_u32};
use crate::token::{Kind, Span, Token};

pub(crate) fn parse(contents: &[u8], names: &mut Interner) -> Parsed {
    let spliced = splice(contents);
    let mut parser = Parser {
        cursor: Cursor::new(&spliced.text, &spliced.splices),
        names,
        parsed: Parsed {
            trigraphs: spliced.trigraphs,
            lone_returns: spliced.lone_returns,
            ..Parsed::default()
        },
        told: Vec::new(),
    };
    parser.file();
    let oddities = parser.cursor.oddities;
    let mut parsed = parser.parsed;
    parsed.oddities = oddities;
    link::link(&mut parsed);
    parsed.lines.shrink_to_fit();
    parsed.directives.shrink_to_fit();
    parsed.tokens.shrink_to_fit();
    parsed.macros.shrink_to_fit();
    parsed
}

pub(crate) struct Parser<'a, 'n> {
    pub(crate) cursor: Cursor<'a>,
    pub(crate) names: &'n mut Interner,
    parsed: Parsed,
    /// What was told since the last conditional directive: nothing is told twice there.
    told: Vec<Directive>,
}

impl Parser<'_, '_> {
    fn file(&mut self) {
        loop {
            self.cursor.skip_blank();
            match self.cursor.peek() {
                None => return,
                Some(b'\n') => self.cursor.at += 1,
                Some(b'#') => self.directive(1),
                Some(b'%') if self.cursor.peek_at(1) == Some(b':') => self.directive(2),
                Some(_) => {
                    // With trigraphs this is a directive; the others matter in directives only.
                    self.parsed.trigraphs |= self.cursor.rest_of_line().starts_with(b"??=");
                    self.text_line();
                }
            }
        }
    }

    pub(crate) fn push(&mut self, directive: Directive, start: usize) {
        if matches!(
            directive,
            Directive::If { .. }
                | Directive::Elif { .. }
                | Directive::Else { .. }
                | Directive::Endif
        ) {
            self.told.clear();
        }
        let line = self.cursor.lines.line_of(start.max(self.cursor.lines.counted()));
        self.parsed.directives.push(directive);
        self.parsed.lines.push(line & !SEVERAL_LINES);
    }

    pub(crate) fn push_once(&mut self, directive: Directive, start: usize) {
        if !self.told.contains(&directive) {
            self.told.push(directive);
            self.push(directive, start);
        }
    }

    /// One directive, whose mark of this length is here, to the end of its line.
    fn directive(&mut self, mark: usize) {
        let start = self.cursor.at;
        let first_line = self.cursor.lines.line_of(start);
        self.cursor.at += mark;
        let at = self.parsed.directives.len();
        if let Some(name) = self.cursor.token() {
            let text = &self.cursor.text[name.start..name.end];
            match name.kind {
                Kind::Name => self.named(text, start),
                Kind::Number => self.push(Directive::Line, start),
                _ => self.push(Directive::Unknown, start),
            }
        }
        while self.cursor.token().is_some() {}
        let line = &self.cursor.text[start..self.cursor.at];
        self.parsed.trigraphs |= line.windows(2).any(|two| two == b"??");
        // What the directive told of itself carries its line, too.
        let last_line = self.cursor.lines.line_of(self.cursor.at);
        let several = if last_line == first_line { 0 } else { SEVERAL_LINES };
        for line in &mut self.parsed.lines[at..] {
            *line = first_line | several;
        }
    }

    fn named(&mut self, name: &[u8], start: usize) {
        let directive = match name {
            b"include" => self.include(How::Include),
            b"include_next" => self.include(How::Next),
            b"import" => self.include(How::Import),
            b"define" => self.define(start),
            b"undef" => self.name().map_or(Directive::Stop(Reason::BadDirective), Directive::Undef),
            b"if" => Directive::If { test: self.expression(), next: 0 },
            b"ifdef" => Directive::If { test: self.defined(true), next: 0 },
            b"ifndef" => Directive::If { test: self.defined(false), next: 0 },
            b"elif" => Directive::Elif { test: self.expression(), next: 0, end: 0 },
            b"elifdef" => Directive::Elif { test: late(self.defined(true)), next: 0, end: 0 },
            b"elifndef" => Directive::Elif { test: late(self.defined(false)), next: 0, end: 0 },
            b"else" => Directive::Else { end: 0 },
            b"endif" => Directive::Endif,
            b"pragma" => match pragma::pragma(self) {
                Some(directive) => directive,
                None => return,
            },
            b"line" => Directive::Line,
            b"error" => Directive::Stop(Reason::ErrorDirective),
            b"embed" => Directive::Stop(Reason::Embed),
            b"warning" | b"ident" | b"sccs" | b"assert" | b"unassert" => return,
            _ => Directive::Unknown,
        };
        self.push(directive, start);
    }

    fn include(&mut self, how: How) -> Directive {
        self.cursor.skip_blank();
        let rest = self.cursor.rest_of_line();
        let end = match rest.first() {
            Some(b'<') => b'>',
            Some(b'"') => b'"',
            Some(_) => {
                let tokens = self.tokens(false);
                return Directive::IncludeTokens { how, tokens };
            }
            None => return Directive::Stop(Reason::BadDirective),
        };
        match rest[1..].iter().position(|&b| b == end) {
            None | Some(0) => Directive::Stop(Reason::BadDirective),
            Some(length) => {
                self.cursor.at += length + 2;
                let name = self.names.intern(&rest[1..=length]);
                Directive::Include { how, angle: end == b'>', name }
            }
        }
    }

    pub(crate) fn name(&mut self) -> Option<Sym> {
        let raw = self.cursor.token().filter(|raw| raw.kind == Kind::Name)?;
        Some(self.names.intern(&self.cursor.text[raw.start..raw.end]))
    }

    /// A test without a name still begins a group; it is an expression without tokens, which cannot be evaluated.
    fn defined(&mut self, wanted: bool) -> Test {
        self.name().map_or(Test::Expression(Span::default()), |name| Test::Defined(name, wanted))
    }

    fn expression(&mut self) -> Test {
        Test::Expression(self.tokens(true))
    }

    fn define(&mut self, start: usize) -> Directive {
        let Some(name) = self.name() else { return Directive::Stop(Reason::BadDirective) };
        if name == known::defined {
            return Directive::Stop(Reason::BadDirective);
        }
        let is_function = self.cursor.peek() == Some(b'(');
        let (mut params, mut is_variadic) = (Vec::new(), false);
        if is_function {
            self.cursor.at += 1;
            match self.params() {
                Some(found) => (params, is_variadic) = found,
                None => return Directive::Stop(Reason::BadDirective),
            }
        }
        let Ok(n_params) = u16::try_from(params.len()) else {
            return Directive::Stop(Reason::BadDirective);
        };
        let raw_start = self.parsed.tokens.len();
        self.tokens(false);
        self.told_by_body(raw_start, start);
        let body = self.body(raw_start, is_function.then_some(&params[..]), is_variadic);
        let index = to_u32(self.parsed.macros.len());
        self.parsed.macros.push(Macro { is_function, is_variadic, n_params, body });
        Directive::Define { name, index }
    }

    /// Parameters up to the closing parenthesis, and whether the last one takes all the rest.
    fn params(&mut self) -> Option<(Vec<Sym>, bool)> {
        let mut params = Vec::new();
        loop {
            let raw = self.cursor.token()?;
            let text = &self.cursor.text[raw.start..raw.end];
            match (raw.kind, text) {
                (Kind::Mark, b")") if params.is_empty() => return Some((params, false)),
                (Kind::Mark, b"...") => params.push(known::va_args),
                (Kind::Name, _) => params.push(self.names.intern(text)),
                _ => return None,
            }
            let mut is_variadic = text == b"...";
            let mut mark = self.mark()?;
            if mark == known::dots && !is_variadic {
                is_variadic = true;
                mark = self.mark()?;
            }
            match mark {
                known::close => return Some((params, is_variadic)),
                known::comma if !is_variadic => {}
                _ => return None,
            }
        }
    }

    fn mark(&mut self) -> Option<Sym> {
        let raw = self.cursor.token().filter(|raw| raw.kind == Kind::Mark)?;
        Some(self.names.intern(&self.cursor.text[raw.start..raw.end]))
    }

    /// The rest of the line into the pool. Behind `__has_include(` a name in brackets is one token.
    fn tokens(&mut self, headers: bool) -> Span {
        let start = self.parsed.tokens.len();
        while let Some(raw) = self.next_token(start, headers) {
            let token = self.keep(raw);
            self.parsed.tokens.push(token);
        }
        Span { start: to_u32(start), end: to_u32(self.parsed.tokens.len()) }
    }

    fn next_token(&mut self, start: usize, headers: bool) -> Option<Raw> {
        if headers
            && let [.., function, open] = self.parsed.tokens[start..]
            && open.is_open()
            && matches!(
                function.sym,
                known::has_include | known::has_include_next | known::has_embed
            )
        {
            let space = self.cursor.skip_blank();
            let rest = self.cursor.rest_of_line();
            if rest.first() == Some(&b'<')
                && let Some(length) = rest.iter().position(|&b| b == b'>')
            {
                let from = self.cursor.at;
                self.cursor.at += length + 1;
                return Some(Raw { kind: Kind::Header, start: from, end: self.cursor.at, space });
            }
        }
        self.cursor.token()
    }

    fn keep(&mut self, raw: Raw) -> Token {
        let text: &[u8] = match &self.cursor.text[raw.start..raw.end] {
            b"%:" => b"#",
            b"%:%:" => b"##",
            text => text,
        };
        Token::new(raw.kind, self.names.intern(text), raw.space)
    }

    fn told_by_body(&mut self, from: usize, start: usize) {
        let mut within_pragma = false;
        for at in from..self.parsed.tokens.len() {
            let token = self.parsed.tokens[at];
            match token.kind {
                Kind::Name => {
                    let text = self.names.shared(token.sym);
                    within_pragma |= *text == *b"_Pragma";
                    self.told(&text, start);
                }
                Kind::Text | Kind::Other => {
                    let text = self.names.shared(token.sym);
                    self.string(&text, within_pragma, start);
                }
                _ => {}
            }
        }
    }

    /// Turns the tokens from here on into the body of a macro.
    fn body(&mut self, from: usize, params: Option<&[Sym]>, is_variadic: bool) -> Span {
        if let Some(first) = self.parsed.tokens.get_mut(from) {
            first.space = false;
        }
        let (mut read, mut write) = (from, from);
        while read < self.parsed.tokens.len() {
            let mut token = self.parsed.tokens[read];
            read += 1;
            if token.is_mark(known::hash_hash) {
                token.kind = Kind::Paste;
            } else if let Some(params) = params {
                let place = |token: &Token| {
                    let number = params.iter().position(|p| *p == token.sym)?;
                    (token.kind == Kind::Name).then(|| Sym(to_u32(number)))
                };
                let after = self.parsed.tokens.get(read);
                if let Some(number) = place(&token) {
                    (token.kind, token.sym) = (Kind::Parameter, number);
                } else if token.is_mark(known::hash)
                    && let Some(number) = after.and_then(place)
                {
                    (token.kind, token.sym) = (Kind::Stringify, number);
                    read += 1;
                } else if is_variadic && token.kind == Kind::Name && token.sym == known::va_opt {
                    token.kind = Kind::VaOpt;
                }
            }
            self.parsed.tokens[write] = token;
            write += 1;
        }
        self.parsed.tokens.truncate(write);
        Span { start: to_u32(from), end: to_u32(write) }
    }
}

fn late(test: Test) -> Test {
    match test {
        Test::Defined(name, wanted) => Test::LateDefined(name, wanted),
        Test::Expression(_) | Test::LateDefined(..) => test,
    }
}
