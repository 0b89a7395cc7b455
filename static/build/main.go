// Command build bundles the portal's style sheet and script into static/dist.
//
// It is run from the repository's root, after `npm ci --ignore-scripts` in static:
//
//	go run ./static/build
//
// Sources are static/src and the packages that package-lock.json pins. What lands in dist is named after its content,
// beside a copy packed with gzip, and listed in manifest.json: the name a page asks for, then the file that holds it.
// Rules of the style sheet whose classes no template and no script mentions are left out (see prune).
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

func main() {
	if err := build("static"); err != nil {
		fmt.Fprintln(os.Stderr, "static/build:", err)
		os.Exit(1)
	}
}

// build bundles everything of the folder static into its folder dist.
func build(static string) error {
	if _, err := os.Stat(filepath.Join(static, "node_modules", "@tabler", "core")); err != nil {
		return fmt.Errorf("the npm packages are missing: run `npm ci --ignore-scripts` in %s", static)
	}
	style, err := bundle(filepath.Join(static, "src", "app.css"))
	if err != nil {
		return err
	}
	words, err := usedWords(filepath.Join(static, "..", "templates"), filepath.Join(static, "src"))
	if err != nil {
		return err
	}
	rules, err := parseCSS(string(style))
	if err != nil {
		return err
	}
	licences := strings.Join(licence.FindAllString(string(style), -1), "\n") + "\n"
	style, err = minify(licences+prune(rules, words).String(), api.LoaderCSS)
	if err != nil {
		return err
	}
	script, err := bundle(filepath.Join(static, "src", "app.js"))
	if err != nil {
		return err
	}
	files := map[string][]byte{"app.css": style, "app.js": script}
	pictures, err := filepath.Glob(filepath.Join(static, "src", "*.svg"))
	if err != nil {
		return err
	}
	for _, name := range pictures {
		if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	return write(filepath.Join(static, "dist"), files)
}

// bundle gives one file with all that the entry point imports: a style sheet as it was written, a script minified.
func bundle(entry string) ([]byte, error) {
	script := strings.HasSuffix(entry, ".js")
	result := api.Build(api.BuildOptions{
		EntryPoints:       []string{entry},
		Bundle:            true,
		MinifyWhitespace:  script,
		MinifyIdentifiers: script,
		MinifySyntax:      script,
		Format:            api.FormatIIFE,
		Target:            api.ES2022,
		LegalComments:     api.LegalCommentsEndOfFile,
		LogLevel:          api.LogLevelSilent,
	})
	if len(result.Errors) > 0 {
		return nil, fmt.Errorf("%s: %s", entry, strings.TrimSpace(strings.Join(api.FormatMessages(result.Errors, api.FormatMessagesOptions{}), "\n")))
	}
	return result.OutputFiles[0].Contents, nil
}

// licence is a comment that has to stay with the code it stands in.
var licence = regexp.MustCompile(`(?s)/\*!.*?\*/`)

func minify(code string, loader api.Loader) ([]byte, error) {
	result := api.Transform(code, api.TransformOptions{
		Loader: loader, MinifyWhitespace: true, MinifySyntax: true,
		LegalComments: api.LegalCommentsEndOfFile, LogLevel: api.LogLevelSilent,
	})
	if len(result.Errors) > 0 {
		return nil, fmt.Errorf("minify: %s", result.Errors[0].Text)
	}
	return result.Code, nil
}

// write empties dist, then puts every file there under a name with its hash, and the manifest last: a build that
// stops half-way leaves no manifest that names missing files.
func write(dist string, files map[string][]byte) error {
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	old, err := os.ReadDir(dist)
	if err != nil {
		return err
	}
	for _, f := range old {
		if f.Name() == ".gitkeep" {
			continue
		}
		if err := os.Remove(filepath.Join(dist, f.Name())); err != nil {
			return err
		}
	}
	manifest := map[string]string{}
	for name, content := range files {
		sum := sha256.Sum256(content)
		hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:10]
		ext := filepath.Ext(name)
		manifest[name] = strings.TrimSuffix(name, ext) + "-" + hash + ext
		path := filepath.Join(dist, manifest[name])
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
		var packed bytes.Buffer
		zip, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
		if _, err := zip.Write(content); err != nil {
			return err
		}
		if err := zip.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(path+".gz", packed.Bytes(), 0o644); err != nil {
			return err
		}
		fmt.Printf("%-28s %7d bytes, %6d packed\n", manifest[name], len(content), packed.Len())
	}
	text, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dist, "manifest.json"), append(text, '\n'), 0o644)
}
