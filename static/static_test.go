package static

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

// built fails the test where the assets were not made.
func built(t *testing.T) {
	t.Helper()
	if err := Check(); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestHandler(t *testing.T) {
	t.Parallel()
	built(t)
	for name, kind := range map[string]string{
		"app.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "favicon.svg": "image/svg+xml", "logo.svg": "image/svg+xml",
	} {
		path := Path(name)
		if path == Prefix+name {
			t.Errorf("%s has no hash in its name", name)
		}
		plain := get(t, path)
		body, err := io.ReadAll(plain.Body)
		if err != nil {
			t.Fatal(err)
		}
		if plain.StatusCode != http.StatusOK || plain.Header.Get("Content-Type") != kind || !strings.Contains(plain.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", name, plain.StatusCode, plain.Header)
		}
		packed := get(t, path, "Accept-Encoding", "br, gzip")
		if packed.Header.Get("Content-Encoding") != "gzip" || packed.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s is not packed: %v", name, packed.Header)
			continue
		}
		reader, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		if unpacked, err := io.ReadAll(reader); err != nil || string(unpacked) != string(body) {
			t.Errorf("%s unpacks to something else (%v)", name, err)
		}
		if refused := get(t, path, "Accept-Encoding", "gzip;q=0"); refused.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is packed for a browser that can't unpack", name)
		}
	}
}

func TestHandlerGivesNothingElse(t *testing.T) {
	t.Parallel()
	built(t)
	for _, path := range []string{"/static/", "/static/manifest.json", "/static/.gitkeep", "/static/app.css", "/static/../static.go", Path("app.css") + ".gz", "/static/app-0000000000.css"} {
		if r := get(t, path); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s answers %d", path, r.StatusCode)
		}
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, Path("app.css"), nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST answers %d", w.Code)
	}
}

// TestSelfContained holds that the style sheet loads nothing from elsewhere and keeps its licence.
func TestSelfContained(t *testing.T) {
	t.Parallel()
	built(t)
	body, err := io.ReadAll(get(t, Path("app.css")).Body)
	if err != nil {
		t.Fatal(err)
	}
	sheet := string(body)
	for _, part := range strings.Split(sheet, "url(")[1:] {
		if !strings.HasPrefix(strings.TrimLeft(part, `"'`), "data:") {
			t.Errorf("the style sheet loads url(%.60s", part)
		}
	}
	if strings.Contains(sheet, "@import") || strings.Contains(sheet, "@font-face") {
		t.Error("the style sheet imports something")
	}
	if !strings.Contains(sheet, "Licensed under MIT") {
		t.Error("the licence of Tabler is missing")
	}
	if len(sheet) > 200_000 {
		t.Errorf("the style sheet has grown to %d bytes", len(sheet))
	}
}

func TestManifest(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"none": "", "broken": "{", "empty": "{}"} {
		files := fstest.MapFS{"dist/.gitkeep": {}}
		if text != "" {
			files["dist/manifest.json"] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := readManifest(files); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := Path("nothing.css"); got != "/static/nothing.css" {
		t.Errorf("an asset that does not exist: %q", got)
	}
}
