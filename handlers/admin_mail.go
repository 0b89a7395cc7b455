package handlers

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"stowage/portal"
	"stowage/portal/lang"
	"stowage/store"
	"stowage/templates"
	"stowage/web"
)

// listMail shows what was told to whom, and how sending it goes.
func (s *Site) listMail(c echo.Context) error {
	ctx := c.Request().Context()
	f := store.MailFilter{Query: searched(c), State: c.QueryParam("state")}
	lines, turn, err := s.db.MailLines(ctx, f, wantedPage(c))
	if err != nil {
		return err
	}
	v := templates.AdminMailPage{
		Frame: s.frame(c, "Mail", templates.AreaAdminMail), Query: f.Query, Paging: keyed(c, turn, portal.Count(len(lines), "1 mail on this page", "%d mails on this page")),
		Filters: []templates.Filter{{Name: "state", Label: "State", Value: f.State, Options: []templates.Option{
			{Value: "", Text: "Any state"}, {Value: "waiting", Text: "Waiting"}, {Value: "sent", Text: "Sent"}, {Value: "failed", Text: "Given up"},
		}}},
	}
	d := desk{now: s.db.Now(), loc: zone(login(c))}
	notice, err := s.mailNotice(ctx, d)
	if err != nil {
		return err
	}
	if notice != nil {
		v.Notices = append(v.Notices, *notice)
	}
	for _, m := range lines {
		v.Rows = append(v.Rows, s.mailRow(d, m))
	}
	return show(c, v)
}

// mailWaits is how long mail may wait before staff are told on the dashboard.
const mailWaits = 30 * time.Minute

// mailNotice says what keeps mail from being sent; nil where nothing does.
func (s *Site) mailNotice(ctx context.Context, d desk) (*templates.Notice, error) {
	state, err := s.db.MailState(ctx)
	if err != nil {
		return nil, err
	}
	waits := state.Messages + state.Waiting
	switch {
	case !s.o.Mail:
		n := &templates.Notice{
			Kind: "no-mail", Tone: templates.ToneWarn, Title: "No mail is sent.",
			Sentence: portal.Sentences("No mail server is set up: give stowage serve its address with --smtp.", portal.Count(waits, "1 message waits.", "%d messages wait.")),
		}
		if waits == 0 {
			n.Sentence = "No mail server is set up: give stowage serve its address with --smtp."
		}
		return n, nil
	case waits > 0 && d.now.Sub(state.Oldest) > mailWaits && state.Trouble != "":
		return &templates.Notice{
			Kind: "mail-waits", Tone: templates.ToneWarn, Title: "Mail is not getting through.",
			Sentence: portal.Sentences(portal.Count(waits, "1 message waits.", "%d messages wait."), portal.Say("The last answer: %s", state.Trouble)),
		}, nil
	}
	return nil, nil
}

func (s *Site) mailRow(d desk, m store.Mail) templates.MailRow {
	r := templates.MailRow{UID: m.UID, When: d.at(m.CreatedAt), To: m.Address, Subject: m.Subject, Machine: m.Notice.Machine, Attempts: m.Attempts}
	if m.Notice.Service != "" {
		r.Href = "/admin/services/" + m.Notice.Service
	}
	switch {
	case m.State == "failed":
		r.Status = templates.Badge{Text: "Given up", Tone: templates.ToneBad}
	case m.State == "sent" && s.o.MailKept:
		r.Status = templates.Badge{Text: "Kept here", Tone: templates.ToneInfo, Title: "This is a demo: its mails are shown here and sent to nobody."}
	case m.State == "sent":
		r.Status = templates.Badge{Text: "Sent", Tone: templates.ToneGood}
	case m.Attempts > 0:
		r.Status = templates.Badge{Text: "Tried again later", Tone: templates.ToneWarn}
	default:
		r.Status = templates.Badge{Text: "Waiting", Tone: templates.ToneInfo}
	}
	return r
}

// written gives a mail as its reader gets it. What only they may see is left out.
func (s *Site) written(ctx context.Context, m store.Mail) lang.Mail {
	return lang.For(m.Language).Write(s.db.Letter(m, false), s.sheet(ctx))
}

func (s *Site) sheet(ctx context.Context) lang.Sheet {
	brand, support := s.brand(ctx)
	return lang.Sheet{Brand: brand, Support: support, URL: s.o.URL}
}

// showMail shows one mail.
func (s *Site) showMail(c echo.Context) error {
	ctx := c.Request().Context()
	m, err := s.db.MailByUID(ctx, c.Param("uid"))
	if err != nil {
		return err
	}
	d := desk{now: s.db.Now(), loc: zone(login(c))}
	w := s.written(ctx, m)
	v := templates.AdminMailOnePage{
		Frame: s.frame(c, m.Subject, templates.AreaAdminMail), Mail: s.mailRow(d, m), Subject: w.Subject, Text: w.Text, Lang: m.Language,
		Preview: "/admin/mail/" + m.UID + "/html", Retry: m.State == "failed" && login(c).MayAct(),
	}
	v.Facts = []templates.Fact{
		{Name: "To", Value: portal.Verbatim(m.Address)}, {Name: "Written", Value: d.at(m.CreatedAt).Text()}, {Name: "Attempts", Value: amount(m.Attempts)},
	}
	if !m.EndedAt.IsZero() {
		v.Facts = append(v.Facts, templates.Fact{Name: "Ended", Value: d.at(m.EndedAt).Text()})
	} else if m.Attempts > 0 {
		v.Facts = append(v.Facts, templates.Fact{Name: "Next attempt", Value: d.at(m.RunAfter).Text()})
	}
	if m.Trouble != "" {
		v.Facts = append(v.Facts, templates.Fact{Name: "The last answer", Value: portal.Verbatim(m.Trouble)})
	}
	c.Response().Header().Set("Content-Security-Policy", web.FramePolicy)
	return show(c, v)
}

// showMailHTML is the HTML of one mail, for a frame.
func (s *Site) showMailHTML(c echo.Context) error {
	m, err := s.db.MailByUID(c.Request().Context(), c.Param("uid"))
	if err != nil {
		return err
	}
	return framed(c, s.written(c.Request().Context(), m).HTML)
}

// framed answers with a document that runs and loads nothing, for a frame on a page of ours.
func framed(c echo.Context, html string) error {
	h := c.Response().Header()
	h.Set("Content-Security-Policy", web.FramedPolicy)
	h.Set("X-Frame-Options", "SAMEORIGIN")
	return c.HTML(http.StatusOK, html)
}

// retryMail sends a mail again that was given up.
func (s *Site) retryMail(c echo.Context) error {
	back := "/admin/mail/" + c.Param("uid")
	_, err := web.ReadForm(c)
	if err == nil {
		err = s.db.RetryMail(c.Request().Context(), login(c).Actor(), c.Param("uid"))
	}
	if err != nil {
		return err
	}
	return s.done(c, "The mail is sent again within seconds.", back)
}

// backToMail leads whoever loads the address of an action to the mail.
func (s *Site) backToMail(c echo.Context) error {
	return web.See(c, "/admin/mail/"+c.Param("uid"))
}

// reportNow writes the morning report as it would be now, in the reader's language and zone.
func (s *Site) reportNow(c echo.Context) (portal.Letter, lang.Mail, error) {
	ctx := c.Request().Context()
	report, err := s.db.Report(ctx)
	if err != nil {
		return portal.Letter{}, lang.Mail{}, err
	}
	l := login(c)
	letter, _ := portal.Compose(portal.Notice{Topic: portal.TopicMorningReport, Report: &report}, true, zone(l))
	return letter, lang.For(l.Language).Write(letter, s.sheet(ctx)), nil
}

// showReport shows the morning report as it would be now.
func (s *Site) showReport(c echo.Context) error {
	letter, w, err := s.reportNow(c)
	if err != nil {
		return err
	}
	v := templates.AdminMailOnePage{
		Frame: s.frame(c, "Morning report", templates.AreaAdminMail), Subject: w.Subject, Text: w.Text, Lang: cmp.Or(login(c).Language, lang.English),
		Mail: templates.MailRow{Subject: letter.Subject}, Preview: "/admin/mail/report/html",
	}
	c.Response().Header().Set("Content-Security-Policy", web.FramePolicy)
	return show(c, v)
}

// showReportHTML is its HTML, for a frame.
func (s *Site) showReportHTML(c echo.Context) error {
	_, w, err := s.reportNow(c)
	if err != nil {
		return err
	}
	return framed(c, w.HTML)
}
