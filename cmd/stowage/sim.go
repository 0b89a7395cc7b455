package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"stowage/pve"
	"stowage/pve/pvesim"
)

type simCmd struct {
	output
	Listen  string  `default:"127.0.0.1:8006" help:"Address to listen on (${default})."`
	Release string  `default:"9.2" enum:"8.4,9.2" help:"The release that it speaks as: ${enum} (${default})."`
	Nodes   int     `default:"1" help:"Nodes (${default})."`
	Guests  int     `default:"2" help:"Machines (${default})."`
	Speed   float64 `default:"1" help:"Speed of its storages; 1 is about 200 MB/s."`
	Seed    uint64  `default:"1" help:"Decides everything random (${default})."`
	Data    string  `placeholder:"DIR" help:"Folder that keeps the world and the certificate; without it, both are gone afterwards."`
	Public  bool    `help:"Listen on an address that others reach. Its tokens are known to everybody."`
}

// Run serves the simulated world until it is told to stop.
func (c *simCmd) Run(a *app) error {
	if c.Nodes < 1 || c.Nodes > 100 || c.Guests < 0 || c.Guests > 100_000 || c.Speed <= 0 {
		return wrongUse("--nodes is 1 to 100, --guests 0 to 100000, --speed more than 0")
	}
	if err := loopbackOnly(c.Listen, c.Public); err != nil {
		return err
	}
	journal := ""
	if c.Data != "" {
		journal = filepath.Join(c.Data, "world")
		if err := os.MkdirAll(journal, 0o700); err != nil {
			return err
		}
	}
	sim, err := pvesim.New(pvesim.ContractWorld(c.Nodes, c.Guests), pvesim.Options{
		Release: c.Release, Now: a.now, Sleep: sleep, Speed: c.Speed, Seed: c.Seed, Journal: journal,
	})
	if err != nil {
		return err
	}
	cert, err := certificate(c.Data, a.now())
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	url := "https://" + listener.Addr().String()
	fingerprint := pve.WithColons(fmt.Sprintf("%x", sha256.Sum256(cert.Certificate[0])))
	answer := map[string]any{"url": url, "fingerprint": fingerprint, "tokens": []string{pvesim.SimToken, pvesim.PortalToken}, "secret": pvesim.Secret}
	err = c.print(a, answer, func(w io.Writer) {
		row(w, "Proxmox VE", c.Release+", simulated")
		row(w, "address", url)
		row(w, "fingerprint", fingerprint)
		row(w, "token", pvesim.SimToken+" (everything a token may)")
		row(w, "token", pvesim.PortalToken+" (the portal's least privilege)")
		row(w, "secret of both", pvesim.Secret)
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := sim.Server()
	server.ErrorLog = log.New(io.Discard, "", 0) // a client that trusts another certificate is no news
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	return serveUntil(a.ctx, tlsServer{server}, listener)
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// loopbackOnly refuses an address that others reach, unless that is wanted.
func loopbackOnly(listen string, public bool) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return wrongUse("--listen is an address with a port, such as 127.0.0.1:8080")
	}
	if ip, err := netip.ParseAddr(host); public || host == "localhost" || (err == nil && ip.IsLoopback()) {
		return nil
	}
	return wrongUse("%s can be reached by others, and everybody knows the passwords: give --public if that is wanted", listen)
}

// certificate reads the simulator's certificate from the folder, or makes one; "" keeps it in memory only.
func certificate(folder string, now time.Time) (tls.Certificate, error) {
	if folder == "" {
		certPEM, keyPEM, err := newCertificate(now)
		if err != nil {
			return tls.Certificate{}, err
		}
		return tls.X509KeyPair(certPEM, keyPEM)
	}
	certFile, keyFile := filepath.Join(folder, "sim.crt"), filepath.Join(folder, "sim.key")
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return cert, err
	}
	certPEM, keyPEM, err := newCertificate(now)
	if err != nil {
		return tls.Certificate{}, err
	}
	if err := errors.Join(os.WriteFile(keyFile, keyPEM, 0o600), os.WriteFile(certFile, certPEM, 0o600)); err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

func newCertificate(now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "simulated Proxmox VE"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), nil
}
