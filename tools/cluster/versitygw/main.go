// Command versitygw is the S3 server with the one kind of storage that is used here: a folder.
package main

import (
	"context"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// The numbers are the defaults of versitygw's own command line.
func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: ROOT_ACCESS_KEY=… ROOT_SECRET_KEY=… versitygw ADDRESS FOLDER")
	}
	address, folder := os.Args[1], os.Args[2]
	if err := (meta.XattrMeta{}).Test(folder); err != nil {
		log.Fatalf("%s holds no extended attributes: %v", folder, err)
	}
	options := posix.PosixOpts{Concurrency: 5000, CopyObjectThreshold: 5 << 30}
	options.SetNewDirPerm(0o755)
	options.SetNewFilePerm(0o644)
	backend, err := posix.New(folder, meta.XattrMeta{}, options)
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = embedgw.RunVersityGW(ctx, backend, &embedgw.Config{
		RootUserAccess:    os.Getenv("ROOT_ACCESS_KEY"),
		RootUserSecret:    os.Getenv("ROOT_SECRET_KEY"),
		Ports:             []string{address},
		MaxConnections:    250_000,
		MaxRequests:       100_000,
		MultipartMaxParts: 10_000,
	})
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}
