package main

import (
	"io"

	"stowage/store"
)

type settingCmd struct {
	List settingListCmd `cmd:"" help:"List the settings with what they do."`
	Set  settingSetCmd  `cmd:"" help:"Change a setting."`
}

type settingListCmd struct {
	data
	output
}

// Run lists the settings.
func (c *settingListCmd) Run(a *app) error {
	type setting struct {
		Key     string `json:"key"`
		Value   string `json:"value"`
		Default string `json:"default"`
		Text    string `json:"text"`
	}
	return c.with(a, func(db *store.DB) error {
		all, err := db.Settings(a.ctx)
		if err != nil {
			return err
		}
		out := make([]setting, len(all))
		for i, s := range all {
			out[i] = setting{s.Key, s.Value, s.Default, s.Text.String()}
		}
		return c.print(a, out, func(w io.Writer) {
			row(w, "KEY", "VALUE", "DEFAULT", "WHAT IT DOES")
			for _, s := range out {
				row(w, s.Key, s.Value, s.Default, s.Text)
			}
		})
	})
}

type settingSetCmd struct {
	data
	output
	Key   string `arg:"" help:"The setting; stowage setting list shows them."`
	Value string `arg:"" help:"Its new value."`
}

// Run changes the setting. A running portal takes it up by itself.
func (c *settingSetCmd) Run(a *app) error {
	return c.with(a, func(db *store.DB) error {
		if err := db.SetSetting(a.ctx, actor, c.Key, c.Value); err != nil {
			return err
		}
		value, err := db.Setting(a.ctx, c.Key)
		if err != nil {
			return err
		}
		return c.print(a, map[string]string{"key": c.Key, "value": value}, func(w io.Writer) { row(w, c.Key, value) })
	})
}
