package lang

import (
	"html/template"
	"strings"
	"unicode"
	"unicode/utf8"

	"stowage/portal"
)

// Sheet is what letters are written on.
type Sheet struct {
	Brand   string // the portal's name
	URL     string // of the portal, without a slash at its end
	Support string // where help is, an address or mailto:; "" leaves it out
}

// Mail is a letter in a language. Subject is one line; Text has lines that end in "\n"; HTML loads nothing.
type Mail struct{ Subject, Text, HTML string }

// Write writes a letter.
func (w *Words) Write(l portal.Letter, s Sheet) Mail {
	v := sheetView{
		Lang: w.tag, Brand: s.Brand, Subject: OneLine(w.sentence(l.Subject, "")), Colour: colours[l.Tone], Support: s.Support,
		Action: w.Say(l.Action), Link: s.URL + l.Path, Reference: l.Reference, Account: s.URL + "/account",
	}
	for _, t := range l.Body {
		v.Body = append(v.Body, w.sentence(t, "."))
	}
	for _, f := range l.Facts {
		v.Facts = append(v.Facts, factView{w.Say(f.Label), OneLine(w.Say(f.Value))})
	}
	for _, t := range l.Items {
		v.Items = append(v.Items, OneLine(w.Say(t)))
	}
	if l.Reference != "" {
		v.Quote = w.T("Reference %s", l.Reference)
	}
	if l.Zone != "" {
		v.Zone = w.T("Times are in %s.", l.Zone)
	}
	v.Why = w.T("You choose which mails you get in your account.")
	if l.Security {
		v.Why = w.T("This mail is about the security of your login; it can't be switched off.")
	}
	if s.Support != "" {
		v.Help = w.T("Help")
	}
	var out strings.Builder
	if err := sheet.Execute(&out, v); err != nil {
		panic("lang: " + err.Error()) // the template and the view are ours: a test of this package would have found it
	}
	return Mail{Subject: v.Subject, Text: v.text(), HTML: out.String()}
}

// sentence says a clause as a sentence, beginning with a capital and ending with end.
func (w *Words) sentence(t portal.Text, end string) string {
	s := strings.TrimSpace(w.Say(t))
	if s == "" {
		return ""
	}
	if end != "" {
		first, size := utf8.DecodeRuneInString(s)
		s = string(unicode.ToUpper(first)) + s[size:]
		if !strings.ContainsAny(s[len(s)-1:], ".!?:") {
			s += end
		}
	}
	return s
}

// OneLine makes a line of words that may hold breaks, control characters, or marks that turn the direction of writing.
func OneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
	}), " ")
}

// sheetView is a letter as the sheet shows it: all is said.
type sheetView struct {
	Lang, Brand, Subject, Colour string
	Body                         []string
	Facts                        []factView
	Items                        []string
	Action, Link                 string
	Reference, Quote             string
	Zone, Why, Account           string
	Support, Help                string
}

type factView struct{ Label, Value string }

// colours of the line at the letter's top: dark enough to be told apart on white.
var colours = map[string]string{"good": "#2b8a3e", "warn": "#b35c00", "bad": "#c92a2a", "info": "#1c5fb8"}

// text is the letter without any markup.
func (v sheetView) text() string {
	var b strings.Builder
	for _, s := range v.Body {
		b.WriteString(strings.TrimSpace(s) + "\n\n")
	}
	for _, f := range v.Facts {
		b.WriteString(f.Label + ": " + f.Value + "\n")
	}
	if len(v.Facts) > 0 {
		b.WriteString("\n")
	}
	for _, s := range v.Items {
		b.WriteString("- " + s + "\n")
	}
	if len(v.Items) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(v.Action + ":\n" + v.Link + "\n\n")
	if v.Quote != "" {
		b.WriteString(v.Quote + "\n\n")
	}
	b.WriteString("-- \n" + v.Brand + "\n")
	if v.Zone != "" {
		b.WriteString(v.Zone + "\n")
	}
	b.WriteString(v.Why + "\n" + v.Account + "\n")
	if v.Support != "" {
		b.WriteString(v.Help + ": " + strings.TrimPrefix(v.Support, "mailto:") + "\n")
	}
	return b.String()
}

// sheet is the letter as HTML for mail programs: tables and inline styles, nothing to load.
var sheet = template.Must(template.New("letter").Parse(`<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light">
<title>{{.Subject}}</title>
</head>
<body style="margin:0;padding:0;background-color:#f1f3f5;color:#212529;font-family:Arial,Helvetica,sans-serif;font-size:16px;line-height:1.5">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="background-color:#f1f3f5"><tr><td align="center" style="padding:24px 12px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:600px;background-color:#ffffff;border-top:4px solid {{.Colour}}">
<tr><td style="padding:24px 24px 0 24px;color:#495057;font-size:14px">{{.Brand}}</td></tr>
<tr><td style="padding:8px 24px 0 24px"><h1 style="margin:0;font-size:22px;line-height:1.3;color:#212529">{{.Subject}}</h1></td></tr>
<tr><td style="padding:16px 24px 0 24px">
{{- range .Body}}
<p style="margin:0 0 12px 0">{{.}}</p>
{{- end}}
</td></tr>
{{- if .Facts}}
<tr><td style="padding:4px 24px 0 24px"><table cellpadding="0" cellspacing="0" border="0" style="font-size:15px">
{{- range .Facts}}
<tr><th scope="row" align="left" style="padding:4px 16px 4px 0;font-weight:normal;color:#495057;vertical-align:top">{{.Label}}</th><td style="padding:4px 0;vertical-align:top">{{.Value}}</td></tr>
{{- end}}
</table></td></tr>
{{- end}}
{{- if .Items}}
<tr><td style="padding:8px 24px 0 24px"><ul style="margin:0;padding:0 0 0 20px;font-size:15px">
{{- range .Items}}
<li style="margin:0 0 4px 0">{{.}}</li>
{{- end}}
</ul></td></tr>
{{- end}}
<tr><td style="padding:20px 24px 24px 24px"><a href="{{.Link}}" style="display:inline-block;padding:10px 18px;background-color:#1c5fb8;color:#ffffff;text-decoration:none;font-weight:bold">{{.Action}}</a></td></tr>
{{- if .Quote}}
<tr><td style="padding:0 24px 24px 24px;font-size:14px;color:#495057">{{.Quote}}</td></tr>
{{- end}}
</table>
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:600px"><tr><td style="padding:16px 24px;font-size:13px;color:#495057">
{{- if .Zone}}
<p style="margin:0 0 4px 0">{{.Zone}}</p>
{{- end}}
<p style="margin:0 0 4px 0">{{.Why}} <a href="{{.Account}}" style="color:#1c5fb8">{{.Account}}</a></p>
{{- if .Support}}
<p style="margin:0"><a href="{{.Support}}" style="color:#1c5fb8">{{.Help}}</a></p>
{{- end}}
</td></tr></table>
</td></tr></table>
</body>
</html>
`))
