// Package static holds the portal's style sheet, script and pictures, embedded in the binary.
//
// `go run ./static/build` makes the files in dist out of src and the pinned npm packages. Their names carry a hash of
// their content, so a browser may keep them for ever, and a new release is seen at once. Nothing comes from elsewhere:
// no CDN, no web fonts. Without a build the package still compiles; Check then says what to run.
package static

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed all:dist
var dist embed.FS

// Prefix is the path below which Handler answers.
const Prefix = "/static/"

// ErrNotBuilt says that the binary was compiled before its assets were made.
var ErrNotBuilt = errors.New("the style sheet and script are missing from this binary: run `npm ci --ignore-scripts` in static, then `go run ./static/build`, then build again")

// manifest maps the name a page asks for to the file that holds it.
var manifest = readManifest(dist)

func readManifest(files fs.FS) map[string]string {
	names := map[string]string{}
	if text, err := fs.ReadFile(files, "dist/manifest.json"); err == nil {
		if json.Unmarshal(text, &names) != nil {
			return map[string]string{}
		}
	}
	return names
}

// Check gives ErrNotBuilt when the assets were not there at compile time.
func Check() error {
	for _, name := range []string{"app.css", "app.js", "favicon.svg", "logo.svg"} {
		file, ok := manifest[name]
		if !ok {
			return ErrNotBuilt
		}
		if _, err := fs.Stat(dist, "dist/"+file); err != nil {
			return ErrNotBuilt
		}
	}
	return nil
}

// Path gives the address of an asset, such as "/static/app-4k2x7q3m1a.css" for "app.css". An asset that was not built
// has its plain name as address, and Handler answers there with what to do.
func Path(name string) string {
	if file, ok := manifest[name]; ok {
		return Prefix + file
	}
	return Prefix + name
}

// Handler answers GET and HEAD below Prefix (the whole path, not a stripped one) with the embedded files. Browsers
// may keep them for ever, for another content has another name.
func Handler() http.Handler {
	types := map[string]string{
		".css": "text/css; charset=utf-8",
		".js":  "text/javascript; charset=utf-8",
		".svg": "image/svg+xml",
	}
	built := map[string]bool{}
	for _, file := range manifest {
		built[file] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		name := strings.TrimPrefix(r.URL.Path, Prefix)
		if len(manifest) == 0 {
			http.Error(w, ErrNotBuilt.Error(), http.StatusNotFound)
			return
		}
		if !built[name] {
			http.NotFound(w, r)
			return
		}
		content, err := fs.ReadFile(dist, "dist/"+name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", types[path.Ext(name)])
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Vary", "Accept-Encoding")
		if takesGzip(r) {
			if packed, err := fs.ReadFile(dist, "dist/"+name+".gz"); err == nil {
				h.Set("Content-Encoding", "gzip")
				content = packed
			}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}

// takesGzip says whether the browser can unpack gzip; "gzip;q=0" is a no.
func takesGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(coding, "gzip") {
			return strings.ReplaceAll(weight, " ", "") != "q=0"
		}
	}
	return false
}
