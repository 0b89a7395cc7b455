package handlers

import (
	"github.com/labstack/echo/v4"

	"stowage/static"
	"stowage/web"
)

// Register puts the portal's pages on a web server. This is the list of all routes; /healthz, /readyz and /metrics
// are web's own.
func (s *Site) Register(w *web.Server) {
	s.web = w
	e := w.Echo

	e.GET(static.Prefix+"*", echo.WrapHandler(static.Handler()))

	e.GET("/login", s.showLogin)
	e.POST("/login", s.signIn)
	e.POST("/logout", s.signOut)
	e.GET("/forgot", s.showForgot)
	e.POST("/forgot", s.forgot)
	e.GET("/reset/:token", s.showReset)
	e.POST("/reset/:token", s.reset)
	e.GET("/", s.home, w.RequireLogin)

	account := e.Group("/account", w.RequireLogin)
	account.GET("", s.showAccount)
	account.POST("/password", s.changePassword)
	account.POST("/zone", s.changeZone)
	account.POST("/language", s.changeLanguage)
	account.POST("/mail", s.changeMail)
	account.POST("/sign-out-everywhere", s.signOutEverywhere)
	account.GET("/*", s.backToAccount)

	e.GET("/services", s.listServices, w.RequireClient)
	e.GET("/services/:uid/events", s.events) // answers by itself whoever is not signed in

	look := e.Group("/services/:uid", w.RequireClient)
	look.GET("", s.showService)
	look.GET("/backups", s.showBackups)
	look.GET("/backups/replace", s.chooseReplace)
	look.GET("/backups/:backup/delete", s.confirmDelete)
	look.GET("/power", s.confirmPower)
	look.GET("/password", s.confirmPassword)
	look.GET("/reinstall", s.confirmReinstall)
	look.GET("/snapshots", s.showSnapshots)
	look.GET("/snapshots/:snapshot/rollback", s.confirmRollback)
	look.GET("/snapshots/:snapshot/delete", s.confirmSnapshotRemoval)
	look.GET("/snapshots/:snapshot/description", s.backToSnapshots)
	look.GET("/backups/:backup/restore", s.confirmRestore)
	look.GET("/operations", s.listOperations)
	look.GET("/operations/:operation", s.showOperation)

	// A refusal shows its page at the address of the action. Whoever loads that again gets the page.
	for _, action := range []string{"/schedule", "/backups/:backup/note", "/backups/:backup/protect", "/backups/:backup/fine", "/backups/:backup/dismiss"} {
		look.GET(action, s.backToBackups)
	}
	look.GET("/operations/:operation/cancel", s.backToOperation)
	look.GET("/operations/:operation/retry", s.backToOperation)

	act := e.Group("/services/:uid", w.RequireClient, w.RequireAct)
	act.POST("/backups", s.createBackup)
	act.POST("/schedule", s.saveSchedule)
	act.POST("/backups/:backup/delete", s.deleteBackup)
	act.POST("/backups/:backup/restore", s.restoreBackup)
	act.POST("/backups/:backup/note", s.saveNote)
	act.POST("/backups/:backup/protect", s.protectBackup)
	act.POST("/backups/:backup/fine", s.acceptBackup)
	act.POST("/backups/:backup/dismiss", s.dismissBackup)
	act.POST("/power", s.power)
	act.POST("/password", s.resetPassword)
	act.POST("/reinstall", s.reinstall)
	act.POST("/snapshots", s.takeSnapshot)
	act.POST("/snapshots/:snapshot/rollback", s.rollBack)
	act.POST("/snapshots/:snapshot/delete", s.removeSnapshot)
	act.POST("/snapshots/:snapshot/description", s.describeSnapshot)
	act.POST("/operations/:operation/cancel", s.cancelOperation)
	act.POST("/operations/:operation/retry", s.retryOperation)

	staff := e.Group("/admin", w.RequireStaff())
	staff.GET("", s.showDashboard)
	staff.GET("/services", s.listAllServices)
	staff.GET("/services/:uid", s.showAnyService)
	staff.GET("/operations", s.listAllOperations)
	staff.GET("/operations/:operation", s.showAnyOperation)
	staff.GET("/servers", s.listServers)
	staff.GET("/servers/:uid", s.showServer)
	staff.GET("/audit", s.listAudit)

	staff.GET("/mail", s.listMail)
	staff.GET("/mail/report", s.showReport)
	staff.GET("/mail/report/html", s.showReportHTML)
	staff.GET("/mail/:uid", s.showMail)
	staff.GET("/mail/:uid/html", s.showMailHTML)
	staff.GET("/mail/:uid/retry", s.backToMail)

	staff.GET("/servers/:uid/storages/:storage/confirm", s.askConfirmGone)

	staff.GET("/operations/:operation/:action", s.backToAnyOperation)
	staff.GET("/servers/:uid/check", s.backToServer)
	staff.GET("/servers/:uid/storages/:storage/unbrake", s.backToServer)

	steer := e.Group("/admin", w.RequireStaff(), w.RequireAct)
	steer.POST("/operations/:operation/retry", s.staffRetry)
	steer.POST("/operations/:operation/resume", s.staffResume)
	steer.POST("/operations/:operation/cancel", s.staffCancel)
	steer.POST("/operations/:operation/skip", s.staffSkip)
	steer.POST("/operations/:operation/release", s.staffRelease)
	steer.POST("/servers/:uid/check", s.checkServer)
	steer.POST("/servers/:uid/storages/:storage/confirm", s.confirmGone)
	steer.POST("/servers/:uid/storages/:storage/unbrake", s.letRemovalsGoOn)

	steer.POST("/mail/:uid/retry", s.retryMail)

	s.registerFaults(staff, steer)
}
